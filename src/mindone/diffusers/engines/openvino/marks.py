"""Hints for the device about single nodes of a graph: OpenVINO's marks, which have no Python classes."""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import openvino as ov
from openvino import opset15 as ov_ops
from openvino._offline_transformations import compress_model_transformation

Node: TypeAlias = ov.Node | ov.Output
"""Inputs and outputs of operations; both behave alike here."""

Marks: TypeAlias = Mapping[str, object]


def unpacking(conversion: Node) -> Node:
    """Mark a conversion as merely unpacking a 16-bit constant.

    Without it OpenVINO unpacks every weight to float32 before it packs it for the device: three times the memory and
    the time.
    """
    return _marked(conversion, _of_unpacking())


def precise(node: Node) -> Node:
    """Mark a node for computation in float32, operands and result, whatever precision the graph is compiled for.

    Nodes that an OpenVINO pass fuses or replaces lose the mark, so check the executed graph.
    """
    return _marked(node, _of_precise_nodes())


def _marked(node: Node, marks: Marks) -> Node:
    for name, mark in marks.items():
        node.set_rt_info(mark, name)
    return node


@functools.cache
def _of_unpacking() -> Marks:
    """Copied from a conversion that OpenVINO itself inserted."""
    x = ov_ops.parameter([1, 2], ov.Type.f32)
    product = ov_ops.matmul(x, ov_ops.constant(np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)), False, True)
    graph = ov.Model([product.output(0)], [x])
    compress_model_transformation(graph)
    return _marks_in(graph, "Convert")


@functools.cache
def _of_precise_nodes() -> Marks:
    """Read from a graph in OpenVINO's file format, which can express it."""
    port = '<port id="{}" precision="FP32"><dim>1</dim></port>'
    given, made = f"<input>{port.format(0)}</input>", f"<output>{port.format(1)}</output>"
    text = f"""<net name="marked" version="11"><layers>
        <layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>{made}</layer>
        <layer id="1" name="y" type="ReLU" version="opset1">
            <rt_info><attribute name="precise" version="0"/></rt_info>{given}{made}
        </layer>
        <layer id="2" name="z" type="Result" version="opset1">{given}</layer>
    </layers><edges>
        <edge from-layer="0" from-port="1" to-layer="1" to-port="0"/>
        <edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
    </edges></net>"""
    return _marks_in(ov.Core().read_model(text.encode(), b""), "Relu")


def _marks_in(graph: ov.Model, kind: str) -> Marks:
    (node,) = (node for node in graph.get_ops() if node.get_type_name() == kind)
    return dict(node.get_rt_info().items())
