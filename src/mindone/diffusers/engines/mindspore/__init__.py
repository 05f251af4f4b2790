"""The MindSpore engine: the operations on ``ms.Tensor``, and how to run a network with them."""
