"""The canonical bytes of an integer model, weights apart from structure, and a reader that trusts nothing.

    file       = magic "BALANCE-INT" 01 · blob structure · blob labels · blob weights
    structure  = list of nodes · list of outputs
    node       = code · operands as distances back · scale numerator · denominator · zero point · attributes
    output     = name · tensor
    labels     = one text for each node (for people; in no digest)
    weights    = for each weight in order: blob of offsets from lo, little-endian, in the fewest whole bytes that hold
                 hi - lo; empty when only the structure is given

A model has one encoding: what the reader accepts, the writer writes again byte for byte.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.codec import Reader, Writer
from balance_core.integer.facts import MAX_ELEMENTS
from balance_core.integer.model import MAX_NODES, IntegerModel, Node, Output
from balance_core.integer.operations import OPERATIONS

if TYPE_CHECKING:
    from balance_core.integer.facts import Fact

MAGIC = b"BALANCE-INT\x01"
MAX_FILE = 2**27
"""Largest encoded model that is read, in bytes."""
MAX_INPUTS = 2**12
"""Largest number of operands of a node."""
MAX_NAME = 256
"""Longest name of an input or output, in bytes of UTF-8."""


def encode_structure(model: IntegerModel) -> bytes:
    """Return the canonical bytes of everything but the weights."""
    out = Writer()
    out.uint(len(model.nodes))
    for place, node in enumerate(model.nodes):
        out.uint(node.operation.code)
        out.uints(place - i for i in node.inputs)
        out.uint(node.scale.numerator)
        out.uint(node.scale.denominator)
        out.sint(node.zero_point)
        node.operation.write(out)
    out.uint(len(model.outputs))
    for output in model.outputs:
        out.text(output.name)
        out.uint(output.tensor)
    return out.getvalue()


def encode_weights(model: IntegerModel) -> bytes:
    """Return the canonical bytes of the weights; raises ConfigError where only the structure is known."""
    if len(model.weights) != len(model.weight_nodes):
        raise ConfigError("this integer model has no weights", hint="load the file that its owner keeps")
    out = Writer()
    for place in model.weight_nodes:
        fact = model.facts[place]
        offsets = (model.weights[place].reshape(-1) - fact.lo).astype("<u8")
        out.blob(offsets.view(np.uint8).reshape(-1, 8)[:, : _width(fact)].tobytes())
    return out.getvalue()


def dumps(model: IntegerModel, *, weights: bool = True) -> bytes:
    """Return the file form of a model, with or without its weights."""
    labels = Writer()
    for node in model.nodes:
        labels.text(node.label[:MAX_NAME])
    out = Writer()
    out.blob(encode_structure(model))
    out.blob(labels.getvalue())
    out.blob(encode_weights(model) if weights else b"")
    return MAGIC + out.getvalue()


def loads(data: bytes) -> IntegerModel:
    """Read a model from untrusted bytes; raises ConfigError for any other bytes than `dumps` writes."""
    if not data.startswith(MAGIC):
        raise ConfigError("this is no integer model of a known version", hint="make one with `balance.integer.lower`")
    if len(data) > MAX_FILE:
        raise ConfigError(f"an integer model of {len(data)} bytes exceeds the {MAX_FILE} allowed")
    source = Reader(memoryview(data)[len(MAGIC) :], "integer model")
    structure, labels, weights = (source.blob(MAX_FILE) for _ in range(3))
    source.end()
    model = _decode_structure(structure, labels)
    if not weights and model.weight_nodes:
        return model
    return decode_weights(model, weights)


def decode_structure(data: bytes, *, max_size: int = MAX_FILE) -> IntegerModel:
    """Read a structure from untrusted bytes; raises ConfigError unless they are what `encode_structure` gives."""
    if len(data) > max_size:
        raise ConfigError(f"a structure of {len(data)} bytes exceeds the {max_size} allowed")
    return _decode_structure(memoryview(data), None)


def _decode_structure(structure: memoryview, labels: memoryview | None) -> IntegerModel:
    source = Reader(structure, "integer model structure")
    texts = None if labels is None else Reader(labels, "integer model labels")
    nodes = []
    for place in range(source.count(MAX_NODES)):
        operation = OPERATIONS[source.uint(len(OPERATIONS) - 1)]
        inputs = tuple(place - step for step in source.uints(MAX_INPUTS))
        numerator, denominator = source.uint(), source.uint()
        if numerator < 1 or denominator < 1 or gcd(numerator, denominator) != 1:
            raise source.fail(f"{numerator}/{denominator} is no scale in lowest terms")
        zero_point = source.sint()
        label = "" if texts is None else texts.text(4 * MAX_NAME)
        nodes.append(Node(operation.read(source), inputs, Fraction(numerator, denominator), zero_point, label))
    outputs = tuple([Output(source.text(MAX_NAME), source.uint()) for _ in range(source.count(MAX_NODES))])
    source.end()
    if texts is not None:
        texts.end()
    model = IntegerModel(tuple(nodes), outputs)
    if encode_structure(model) != structure:
        raise ConfigError("integer model: the structure is not in canonical form")
    return model


def decode_weights(model: IntegerModel, data: bytes | memoryview) -> IntegerModel:
    """Read a structure's weights from untrusted bytes; raises ConfigError unless `encode_weights` gives them."""
    source = Reader(data, "integer model weights")
    arrays = {}
    for place in model.weight_nodes:
        fact = model.facts[place]
        raw = source.blob(8 * MAX_ELEMENTS)
        if len(raw) != fact.size * _width(fact):
            raise source.fail(f"{model.name_of(place)} has {len(raw)} bytes of weights")
        padded = np.zeros((fact.size, 8), dtype=np.uint8)
        padded[:, : _width(fact)] = np.frombuffer(raw, dtype=np.uint8).reshape(fact.size, -1)
        offsets = padded.reshape(-1).view("<u8")
        if offsets.size and int(offsets.max()) > fact.hi - fact.lo:
            raise source.fail(f"{model.name_of(place)} has weights outside its declared range")
        arrays[place] = (offsets.astype(np.int64) + fact.lo).reshape(fact.shape)
    source.end()
    return IntegerModel(model.nodes, model.outputs, arrays)


def _width(fact: Fact) -> int:
    return max(1, (fact.bits + 7) // 8)
