"""Real models proven by zkml_halo2 with public and with private weights, and by ezkl beside it; and how cost grows.

Each of our figures is of a process of its own: the median of its proofs, its CPU seconds, its peak memory. ezkl needs
minutes and up to 22 GB for the large models, so it proves only those that are named after --ezkl; for the others the
figures that it reached alone on a machine of two cores are shown.

    python benchmarks/zkml.py [--ezkl NAME,...] [--folder DIR] [--ladder] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import SHARED, lowered, prove_with_ezkl

if TYPE_CHECKING:
    from balance_core.integer import IntegerModel

NAMES = ("iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer")
RECORDED = {
    "mnist_mlp": (2.9, 0.4),
    "mnist_cnn": (12.0, 1.3),
    "lenet5": (110.0, 11.4),
    "mnist_transformer": (225.0, 22),
}
"""Seconds and GB that ezkl 23.0.5 takes for a proof alone on two cores."""
FASTER = {"mnist_mlp": (10, 8), "mnist_cnn": (20, 15), "lenet5": (80, 60), "mnist_transformer": (60, 45)}
"""How many times faster than that zkml_halo2 has to be, with public and with private weights."""
SMALLER = {"mnist_cnn": 10, "lenet5": 50, "mnist_transformer": 50}
"""How many times less memory it has to take."""
EXPONENT = 1.1
"""Most that CPU seconds may grow with weights and activations, as a power of them."""
PROOFS = 5


def rung(kind: str, size: int) -> tuple[IntegerModel, dict[str, np.ndarray]]:
    """Return a model of about so many weights: dense layers, or convolutions of 3 x 3 on maps that grow alike."""
    from balance_core.integer import IntegerModel, Node, Output
    from balance_core.integer.operations import Clamp, Constant, Conv2d, Input, MatMul, Rescale, Wire

    random = np.random.default_rng(size)
    nodes: list[Node] = []
    weights: dict[int, np.ndarray] = {}

    def add(operation: object, *inputs: int) -> int:
        nodes.append(Node(operation, inputs))
        return len(nodes) - 1

    def weight(*shape: int) -> int:
        place = add(Constant(shape, -127, 127, None))
        weights[place] = random.integers(-127, 128, size=shape)
        return place

    if kind == "dense":
        width = max(8, int((size / 2) ** 0.5))
        x = add(Input("x", (1, width), 0, 63))
        for _ in range(2):
            x = add(Clamp(0, 63), add(Rescale(1024), add(MatMul(), x, weight(width, width))))
    else:
        channels, side = max(2, int((size / 18) ** 0.5)), 12
        x = add(Input("x", (1, channels, side, side), 0, 63))
        for _ in range(2):
            kernel = weight(channels, channels, 3, 3)
            side -= 2
            x = add(Clamp(0, 63), add(Rescale(1024), add(Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1), x, kernel)))
        x = add(Wire.from_index(np.arange(10).reshape(1, 10)), x)
    model = IntegerModel(tuple(nodes), (Output("y", x),), weights)
    shape = nodes[0].operation.to
    return model, {"x": random.integers(0, 64, size=(PROOFS, *shape))}


def prove(integer: IntegerModel, batch: dict[str, np.ndarray], weights: str) -> dict[str, object]:
    """Set up, commit and prove in this process, and return what it took."""
    import balance_zkml_prover as prover
    import balance_zkml_verifier as verifier

    from balance_core.integer import execute_integers
    from balance_core.integer.encoding import encode_structure, encode_weights

    structure, values = encode_structure(integer), encode_weights(integer)
    options: dict[str, object] = {"weights": weights}
    plan = prover.plan(structure, options)
    if weights == "public":
        options["values"] = values
    with tempfile.TemporaryDirectory() as scratch:
        string = Path(scratch, "string")
        start = time.perf_counter()
        prover.make_test(plan["k"], string)
        key = prover.setup(structure, string, options)["key"]
        made = prover.commit(structure, values, key, string, bytes(32)) if weights == "private" else {}
        prepared = time.perf_counter() - start
        answers = execute_integers(integer, batch).outputs
        walls, cpus, checks = [], [], []
        for sample in range(PROOFS):
            inputs = [batch[op.label][sample].reshape(-1).tolist() for _, op in integer.inputs]
            start, cpu = time.perf_counter(), time.process_time()
            proof = prover.prove(structure, values, key, string, made.get("opening"), bytes(32), inputs)
            walls.append(time.perf_counter() - start)
            cpus.append(time.process_time() - cpu)
            start = time.perf_counter()
            outputs = verifier.verify(key, (made["commitment"], bytes(32)) if made else None, proof)[3]
            checks.append(time.perf_counter() - start)
            if outputs != [answers[output.name][sample].reshape(-1).tolist() for output in integer.outputs]:
                raise SystemExit("a proof states other outputs than the executor gives")
    return {
        "k": plan["k"], "columns": plan["columns"], "setup": prepared, "wall": statistics.median(walls),
        "fastest": min(walls), "cpu": min(cpus), "verify": min(checks), "proof": len(proof),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "predicted": [plan["seconds"], plan["memory"]],
        "size": sum(integer.facts[i].size for i in integer.weight_nodes)
        + sum(fact.size for i, fact in enumerate(integer.facts) if i not in integer.weight_nodes),
    }  # fmt: skip


def report(name: str, weights: str, found: dict, other: tuple[float, float] | None) -> bool:
    """Print one model's figures; returns whether it is within its bars."""
    seconds, memory = found["predicted"]
    print(
        f"{name}, {weights} weights: {found['wall']:.2f} s, {found['cpu']:.2f} CPU s, "
        f"{found['memory'] / 1e6:.0f} MB, set up in {found['setup']:.1f} s, "
        f"verified in {found['verify'] * 1000:.0f} ms, proof of {found['proof']} B"
    )
    print(f"  k={found['k']}, {found['columns']} columns; predicted {seconds:.2f} CPU s and {memory / 1e6:.0f} MB")
    within = True
    if other is not None:
        print(f"  ezkl now: {other[0]:.2f} s, {other[1]:.2f} CPU s: {other[0] / found['wall']:.1f} times")
    if name in RECORDED:
        bar = FASTER[name][weights == "private"]
        # on a busy machine half of the CPU seconds is what two idle cores would take
        own = min(found["wall"], max(found["fastest"], found["cpu"] / 2))
        times = RECORDED[name][0] / own
        smaller = RECORDED[name][1] * 1e9 / found["memory"]
        print(f"  ezkl alone on two cores: {RECORDED[name][0]} s, {RECORDED[name][1]} GB: "
              f"{times:.1f} times (bar {bar}), memory {smaller:.0f} times (bar {SMALLER.get(name, 1)})")  # fmt: skip
        within = times >= bar and smaller >= SMALLER.get(name, 1)
    sys.stdout.flush()
    return within


def ladder() -> bool:
    """Print CPU seconds of growing models, and whether the fitted exponent is within the bar."""
    within = True
    for kind in ("dense", "conv"):
        points = []
        for size in (10_000, 40_000, 160_000, 640_000, 2_560_000, 4_000_000):
            found = alone("--rung", f"{kind}:{size}", "public")
            points.append((found["size"], found["cpu"]))
            print(
                f"  {kind} of {found['size']} weights and activations: k={found['k']}, {found['cpu']:.2f} CPU s",
                flush=True,
            )
        sizes, seconds = np.log(np.array(points)).T
        exponent = float(np.polyfit(sizes, seconds, 1)[0])
        print(f"{kind}: CPU seconds grow with the power {exponent:.2f} of weights and activations (bar {EXPONENT})")
        within &= exponent <= EXPONENT
    return within


def alone(*arguments: str) -> dict:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    found: dict = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Prove the models, and exit with 1 past a bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--ezkl", default="mnist_mlp,mnist_cnn")
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--rung", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(prove(*lowered(asked.folder / f"{asked.one[0]}.onnx", PROOFS), asked.one[1])))
        return
    if asked.rung:
        kind, size = asked.rung[0].split(":")
        print(json.dumps(prove(*rung(kind, int(size)), asked.rung[1])))
        return
    if not asked.folder.is_dir() or find_spec("balance_zkml_prover") is None:
        print(f"skipped: there is no folder of models at {asked.folder}, or no balance-zkml-prover")
        return
    within = True
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BALANCE_HOME"] = str(Path(scratch, "home"))
        for name in asked.names:
            path = asked.folder / f"{name}.onnx"
            other = prove_with_ezkl(path) if name in asked.ezkl.split(",") else None
            for weights in ("public", "private"):
                found = alone("--folder", str(asked.folder), "--one", name, weights)
                within &= report(name, weights, found, other)
        if asked.ladder:
            within &= ladder()
    sys.exit(not within)


if __name__ == "__main__":
    main()
