"""The networks, each an ordinary ``mindspore.nn.Cell`` written in `functional`."""
