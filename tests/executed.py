"""What the CPU executes of a network."""


def executed(network) -> list[str]:
    """The types of the operations in its one compiled graph, in order."""
    (key,) = network.graphs
    model = network.graphs.get(key, lambda: None)._request.get_compiled_model().get_runtime_model()
    told = [node.get_rt_info() for node in model.get_ops()]
    return [str(info["layerType"].value) for info in sorted(told, key=lambda info: int(info["execOrder"].value))]
