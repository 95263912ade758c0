"""One circuit of zkml_halo2 from encoded bytes, in a process that loads nothing but the native halves.

`benchmarks/zkml.py` writes a folder with a model's structure, weights, inputs and expected outputs, and runs this
twice on it: `prepare` makes a reference string, keys and commitment, `prove` then proves and verifies. Each prints a
line of JSON.

    python benchmarks/zkml_alone.py prepare|prove FOLDER public|private
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import balance_zkml_prover as prover
import balance_zkml_verifier as verifier

PROVIDER = bytes(32)
"""The public key that registrations are of."""


def peak() -> int:
    """Return the most memory of this process so far in bytes: that of its parent is not in it, as in getrusage."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def prepare(folder: Path, weights: str) -> dict[str, object]:
    """Plan, make a reference string and keys, and commit to the weights; returns what each took."""
    structure, values = (folder / "structure").read_bytes(), (folder / "weights").read_bytes()
    options: dict[str, object] = {"weights": weights}
    seconds: dict[str, float] = {}

    def timed(name: str, work: object, *arguments: object) -> object:
        start = time.perf_counter()
        made = work(*arguments)
        seconds[name] = time.perf_counter() - start
        return made

    plan = timed("plan", prover.plan, structure, options)
    options["k"] = plan["k"]
    if weights == "public":
        options["values"] = values
    timed("srs", prover.make_test, plan["k"], str(folder / "string"))
    key = timed("keys", prover.setup, structure, str(folder / "string"), options)["key"]
    (folder / "key").write_bytes(key)
    if weights == "private":
        made = timed("commit", prover.commit, structure, values, key, str(folder / "string"), PROVIDER)
        for name in ("commitment", "opening"):
            (folder / name).write_bytes(made[name])
    return {"seconds": seconds, "plan": plan, "memory": peak()}


def prove(folder: Path, weights: str) -> dict[str, object]:
    """Prove and verify each request; returns what it took, memory as after the first, as a stage proves one."""
    read = {name: (folder / name).read_bytes() for name in ("structure", "weights", "key")}
    private = weights == "private"
    commitment, opening = ((folder / name).read_bytes() if private else None for name in ("commitment", "opening"))
    walls, cpus, checks = [], [], []
    memory = 0
    for inputs, expected in json.loads((folder / "requests").read_text()):
        start, cpu = time.perf_counter(), time.process_time()
        arguments = (read["structure"], read["weights"], read["key"], str(folder / "string"), opening)
        # as one who proves a single answer does: with all that further ones would share
        proof = prover.Prover(*arguments).prove(bytes(32), inputs)
        walls.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
        memory = memory or peak()
        start = time.perf_counter()
        stated = verifier.verify(read["key"], (commitment, PROVIDER) if private else None, proof)
        checks.append(time.perf_counter() - start)
        if stated[2] != inputs or stated[3] != expected:
            raise SystemExit("a proof states other values than the executor gives")
    return {
        "wall": statistics.median(walls), "fastest": min(walls), "cpu": min(cpus), "verify": min(checks),
        "proof": len(proof), "memory": memory,
    }  # fmt: skip


if __name__ == "__main__":
    task, where, weights = sys.argv[1:]
    print(json.dumps({"prepare": prepare, "prove": prove}[task](Path(where), weights)))
