"""Writes `cases.bin`, by which the Rust reader and executor are compared with the core's.

Run as `python cases.py [COUNT [FILE]]`.

The file is a list of records, all integers little-endian: a byte that says what is expected (0: the structure is
refused; 1: it is read, with the given facts; 2: and executed, with the given tensors; 3: the weights are refused),
then blobs, each after its length in 4 bytes: the structure; for 1 the facts, one line "axes lo hi" each; for 2 and 3
the weights; for 2 the inputs as 8 bytes each, all inputs end to end, and the SHA-256 of all tensors in the same form.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[4] / "tests" / "integer"))

from test_encoding import mutated  # noqa: E402

from balance_core.errors import ConfigError  # noqa: E402 - the path above comes first
from balance_core.integer import IntegerModel, Node, Output, execute_integers  # noqa: E402
from balance_core.integer import operations as ops  # noqa: E402
from balance_core.integer.encoding import (  # noqa: E402
    decode_structure,
    decode_weights,
    encode_structure,
    encode_weights,
)
from balance_core.testing.random_models import Growing, random_inputs, random_model  # noqa: E402


def linear_models(generator: np.random.Generator) -> IntegerModel:
    """Return a model of convolutions and products of every shape: groups, channels, batches, broadcast."""

    def pick(low: int, high: int) -> int:
        return int(generator.integers(low, high))

    growing = Growing(generator)
    growing.nodes, growing.facts = [], []
    groups, depth, multiplier = pick(1, 4), pick(1, 3), pick(1, 3)
    images = growing.add(ops.Input("x", (pick(1, 3), groups * depth, pick(1, 6), pick(1, 6)), -50, 60))
    kernels = growing.add(ops.Input("w", (groups * multiplier, depth, pick(1, 4), pick(1, 4)), -9, 9))
    pads = tuple(map(int, generator.integers(0, 4, size=4)))
    strides, dilations = (tuple(map(int, generator.integers(1, 4, size=2))) for _ in range(2))
    if pick(0, 2):
        kernels = growing.constant(growing.facts[kernels].shape)
    growing.add(ops.Conv2d(strides, pads, dilations, groups), images, kernels)
    outer = [pick(1, 3), pick(1, 4)]
    left = growing.constant((1 if pick(0, 2) else outer[0], outer[1], pick(1, 5), 3))
    right = growing.constant((outer[0], 1 if pick(0, 2) else outer[1], 3, pick(1, 5)))
    product = growing.add(ops.MatMul(), left, right)
    growing.add(ops.Sum((0, 2)), product)
    growing.add(ops.Max((1, 3)), product)
    growing.add(ops.ArgMax((pick(0, 4),)), product)
    return growing.model()


def odd_models() -> list[IntegerModel]:
    """Return admissible models with numbers of no effect, however large, and numbers at the limits."""
    safe = 2**62 - 1
    image, kernel = ops.Input("x", (1, 1, 2, 3), -5, 5), ops.Constant.listed(np.full((1, 1, 1, 3), 2))
    far = ops.Conv2d((2**300, 2**63), (0, 1, 0, 1), (2**400, 1), 1)
    lists = [
        [Node(image), Node(kernel), Node(far, (0, 1))],
        [Node(image), Node(ops.Wire((), (1, 1), (2**59, -(2**59)), 4, None), (0,))],
        [Node(ops.Input("x", (), -safe, safe)), Node(ops.Clamp(-safe, safe), (0,))],
        [Node(ops.Constant((2,), -safe, safe, None)), Node(ops.Input("x", (2,), 0, 0)), Node(ops.Mul(), (0, 1))],
        [Node(ops.Input("x", (2,), 0, 1), (), Fraction(2**440 - 1, 2**440), -(2**61))],
        [Node(ops.Input("x", (1,), 0, 2)), Node(ops.Lookup(0, np.array([-safe, safe, 0])), (0,))],
        [Node(ops.Input("x", (3,), -7, safe // 2 - 2**61)), Node(ops.Rescale(2**59), (0,))],
    ]
    weights = {3: {0: np.array([-safe, safe])}}
    return [IntegerModel(tuple(n), (Output("o", len(n) - 1),), weights.get(i, {})) for i, n in enumerate(lists)]


def huge_models() -> list[IntegerModel]:
    """Return admissible models whose numbers of no effect are beyond numpy, so that they are only read."""
    lists = [
        [Node(ops.Input("x", (1, 1, 2, 3), -5, 5)), Node(ops.Wire((), (1, 1), (2**90, -(2**300)), 4, None), (0,))],
        [Node(ops.Input("x", (2,), 0, 1), (), Fraction(2**440 - 1, 2**440), -(2**400))],
    ]
    return [IntegerModel(tuple(nodes), (Output("o", len(nodes) - 1),)) for nodes in lists]


def blobs(*parts: bytes) -> bytes:
    """Return each part after its length."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def executed(model: IntegerModel, seed: int) -> bytes:
    """Return the record of one execution."""
    inputs = random_inputs(model, seed, 1 + seed % 3)
    inputs = {name: array[-1:] for name, array in inputs.items()}
    tensors = execute_integers(model, inputs, intermediates=True).tensors
    given = b"".join(inputs[op.label].astype("<i8").tobytes() for _, op in model.inputs)
    digest = sha256(b"".join(np.ascontiguousarray(tensors[i], "<i8").tobytes() for i in range(len(model.nodes))))
    return b"\x02" + blobs(encode_structure(model), encode_weights(model), given, digest.digest())


def judged(structure: bytes) -> bytes:
    """Return the record of a structure that may be anything."""
    try:
        model = decode_structure(structure)
    except ConfigError:
        return b"\x00" + blobs(structure)
    facts = [f"{','.join(map(str, fact.shape))} {fact.lo} {fact.hi}\n" for fact in model.facts]
    return b"\x01" + blobs(structure, "".join(facts).encode())


def weighed(model: IntegerModel, data: bytes) -> bytes:
    """Return the record of weights that are refused, or nothing where they are not."""
    try:
        decode_weights(model.structure_only(), data)
    except ConfigError:
        return b"\x03" + blobs(encode_structure(model), data)
    return b""


def main(count: int, target: Path) -> None:
    """Write the file."""
    records = [executed(model, seed) for seed, model in enumerate(odd_models())]
    records += [judged(encode_structure(model)) for model in huge_models()]
    for seed in range(count):
        generator = np.random.Generator(np.random.PCG64(seed))
        model = linear_models(generator) if seed % 3 == 0 else random_model(seed, 6)
        structure, weights = encode_structure(model), encode_weights(model)
        records += [
            executed(model, seed),
            judged(mutated(structure, generator)),
            judged(mutated(structure, generator)),
        ]
        if weights and seed % 4 == 0:
            records.append(weighed(model, mutated(weights, generator)))
    target.write_bytes(b"".join(records))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 90, Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "cases.bin"
    )
