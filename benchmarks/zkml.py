"""Real models proven by zkml_halo2 with public and with private weights, and by ezkl beside it; and how cost grows.

Our figures are of processes that hold nothing but the prover (`zkml_alone.py`): the median of their proofs, CPU
seconds, peak memory. ezkl runs as its own documentation has it (`ezkl_alone.py`), and once more with the settings
that our ezkl backend chooses. It needs minutes and up to 22 GB for the large models, so it proves only those that are
named after --ezkl; for the others the figures that it reached alone on a machine of two cores are shown.

    python benchmarks/zkml.py [--ezkl NAME,...] [--folder DIR] [--upstream] [--ladder] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import SHARED, lowered, prove_with_ezkl

if TYPE_CHECKING:
    from balance_core.integer import IntegerModel

HERE = Path(__file__).parent
NAMES = ("iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer")
FASTER = {"mnist_mlp": (10, 8), "mnist_cnn": (20, 15), "lenet5": (80, 60), "mnist_transformer": (60, 45)}
"""How many times faster than ezkl zkml_halo2 has to prove, with public and with private weights."""
SMALLER = {"mnist_cnn": 10, "lenet5": 50, "mnist_transformer": 50}
"""How many times less memory it has to take."""
SOONER = 20
"""How many times faster keys and reference string have to be made."""
EXPONENT = 1.1
"""Most that CPU seconds may grow with weights and activations, as a power of them."""
UPSTREAM = SHARED.parent / "fixtures" / "zkml_mnist"
UPSTREAM_TOOK = (5.6, 8.5, 300e6)
"""Seconds to prove, seconds in all, and bytes of the zkml project's own time_circuit on its files, on two cores."""
UPSTREAM_BARS = (10, 2)
"""How many times faster, and in how many times less memory, the same has to be done here."""
PROOFS = 5
PREDICTED = 0.25
"""Most that a prediction may be off, as a share of what it predicts."""


@dataclass(frozen=True)
class Ezkl:
    """What ezkl 23.0.5 took for a model: seconds for keys, proof and reference string, bytes; k of its circuit."""

    k: int
    setup: float
    wall: float
    memory: float
    srs: float = 0.0


RECORDED = {
    "lenet5": Ezkl(k=19, setup=98, wall=110, memory=11.4e9, srs=80),
    "mnist_transformer": Ezkl(k=19, setup=200, wall=225, memory=22e9, srs=80),
}
"""Alone on a machine of two cores; but the transformer's keys were made beside other work."""


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


def measure(integer: IntegerModel, batch: dict[str, np.ndarray], weights: str, *, proofs: int = PROOFS) -> dict:
    """Set up, commit, prove and verify in processes of their own; returns what `zkml_alone.py` says, and the size."""
    from balance_core.integer import execute_integers
    from balance_core.integer.encoding import encode_structure, encode_weights

    answers = execute_integers(integer, batch).outputs
    requests = [
        (
            [batch[op.label][sample].reshape(-1).tolist() for _, op in integer.inputs],
            [answers[output.name][sample].reshape(-1).tolist() for output in integer.outputs],
        )
        for sample in range(proofs)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "structure").write_bytes(encode_structure(integer))
        (folder / "weights").write_bytes(encode_weights(integer))
        (folder / "requests").write_text(json.dumps(requests))
        made = said(HERE / "zkml_alone.py", "prepare", folder, weights)
        proven = said(HERE / "zkml_alone.py", "prove", folder, weights)
    size = sum(fact.size for fact in integer.facts)
    return made | proven | {"prepared": made["memory"], "size": size}


def said(*command: object) -> dict:
    """Run a program of ours and return the JSON of its last line."""
    done = subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def report(name: str, weights: str, found: dict, other: Ezkl | None) -> bool:
    """Print one model's figures; returns whether it is within its bars."""
    plan, seconds = found["plan"], found["seconds"]
    prepared = sum(seconds.values()) - seconds["srs"]
    print(
        f"{name}, {weights} weights: {found['wall']:.2f} s, {found['cpu']:.2f} CPU s, "
        f"{found['memory'] / 1e6:.0f} MB, set up in {prepared:.2f} s and {seconds['srs']:.2f} s for the string "
        f"({found['prepared'] / 1e6:.0f} MB), verified in {found['verify'] * 1000:.0f} ms, "
        f"proof of {found['proof']} B"
    )
    off = {what: plan[what] / found[measured] - 1 for what, measured in (("seconds", "cpu"), ("memory", "memory"))}
    print(
        f"  k={plan['k']}, {plan['columns']} columns, {plan['rows']} rows; predicted {plan['seconds']:.2f} CPU s "
        f"({off['seconds']:+.0%}) and {plan['memory'] / 1e6:.0f} MB ({off['memory']:+.0%})"
    )
    within = all(abs(share) <= PREDICTED for share in off.values())
    if other is not None:
        # on a busy machine half of the CPU seconds is what two idle cores would take
        own = min(found["wall"], max(found["fastest"], found["cpu"] / 2))
        faster, bar = other.wall / own, FASTER[name][weights == "private"]
        smaller, least = other.memory / found["memory"], SMALLER.get(name, 1)
        sooner = (other.setup + other.srs) / (prepared + seconds["srs"])
        print(
            f"  ezkl {other.wall:.2f} s, {other.memory / 1e9:.1f} GB, set up in {other.setup:.1f} + {other.srs:.1f} s"
            f": {faster:.1f} times (bar {bar}), memory {smaller:.0f} times (bar {least}), "
            f"setup {sooner:.0f} times (bar {SOONER})"
        )
        within &= faster >= bar and smaller >= least and sooner >= SOONER
    sys.stdout.flush()
    return within


def beside(path: Path) -> Ezkl:
    """Run ezkl on a model now: as it is, with its own string, and once more as our ezkl backend would."""
    found = said(HERE / "ezkl_alone.py", path)
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        code = f"import ezkl; ezkl.gen_srs({str(Path(scratch, 'srs'))!r}, {found['k']})"
        subprocess.run([sys.executable, "-c", code], check=True)
        string = time.perf_counter() - start
    wall, cpu = prove_with_ezkl(path)
    print(f"{path.stem}, ezkl: {found['wall']:.2f} s, {found['cpu']:.2f} CPU s at k={found['k']}; "
          f"with settings of ours {wall:.2f} s, {cpu:.2f} CPU s", flush=True)  # fmt: skip
    return Ezkl(found["k"], found["setup"], found["wall"], found["memory"], string)


def upstream(folder: Path) -> bool:
    """Run `balance zkml time-circuit` on the zkml project's own files, in one process from file to verified proof."""
    code = """
import resource, sys
from pathlib import Path
from balance_core.cli import invoke
failed = invoke(sys.argv[1:])
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"\\nmeasured {int(peak) * 1024} {used.ru_utime + used.ru_stime}")
sys.exit(failed)
"""
    with tempfile.TemporaryDirectory() as scratch:
        files = [str(folder / "model.msgpack"), str(folder / "inp.msgpack"), "--out", scratch]
        command = [sys.executable, "-c", code, "zkml", "time-circuit", *files]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall = time.perf_counter() - start
    proving = next(line.split()[-2] for line in done.stdout.splitlines() if line.startswith("Proving time"))
    _, memory, cpu = done.stdout.splitlines()[-1].split()
    took, whole, needed = UPSTREAM_TOOK
    faster, in_all, smaller = took / float(proving), whole / wall, needed / float(memory)
    print(
        f"upstream's MNIST: proven in {proving} s, {wall:.2f} s and {float(cpu):.2f} CPU s in all, "
        f"{float(memory) / 1e6:.0f} MB; its own time_circuit {took} s, {whole} s, {needed / 1e6:.0f} MB: "
        f"{faster:.0f} times (bar {UPSTREAM_BARS[0]}), in all {in_all:.0f} times, "
        f"memory {smaller:.1f} times (bar {UPSTREAM_BARS[1]})",
        flush=True,
    )
    return faster >= UPSTREAM_BARS[0] and smaller >= UPSTREAM_BARS[1]


def ladder() -> bool:
    """Print CPU seconds of growing models, and whether the fitted exponent is within the bar."""
    within = True
    for kind in ("dense", "conv"):
        points = []
        for size in (10_000, 40_000, 160_000, 640_000, 2_560_000, 4_000_000):
            found = measure(*rung(kind, size), "public", proofs=1)
            points.append((found["size"], found["cpu"]))
            print(
                f"  {kind} of {found['size']} weights and activations: k={found['plan']['k']}, "
                f"{found['plan']['columns']} columns, {found['cpu']:.2f} CPU s, {found['memory'] / 1e6:.0f} MB, set "
                f"up in {sum(found['seconds'].values()):.1f} s ({found['prepared'] / 1e6:.0f} MB), verified",
                flush=True,
            )
        sizes, seconds = np.log(np.array(points)).T
        exponent = float(np.polyfit(sizes, seconds, 1)[0])
        print(f"{kind}: CPU seconds grow with the power {exponent:.2f} of weights and activations (bar {EXPONENT})")
        within &= exponent <= EXPONENT
    return within


def main() -> None:
    """Prove the models, and exit with 1 past a bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--ezkl", default="mnist_mlp,mnist_cnn")
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--upstream", action="store_true")
    asked = parser.parse_args()
    if find_spec("balance_zkml_prover") is None:
        print("skipped: there is no balance-zkml-prover")
        return
    within = True
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BALANCE_HOME"] = str(Path(scratch, "home"))
        if asked.folder.is_dir():
            for name in asked.names:
                path = asked.folder / f"{name}.onnx"
                other = beside(path) if name in asked.ezkl.split(",") else RECORDED.get(name)
                model = lowered(path, PROOFS)
                for weights in ("public", "private"):
                    within &= report(name, weights, measure(*model, weights), other)
        else:
            print(f"skipped: there is no folder of models at {asked.folder}")
        if asked.upstream:
            within &= upstream(UPSTREAM)
        if asked.ladder:
            within &= ladder()
    sys.exit(not within)


if __name__ == "__main__":
    main()
