"""The MindSpore engine: the operations on ``ms.Tensor``, and how a network is run with them."""
