"""ezkl 23.0.5 on one model as its own documentation has it: its default settings, calibrated by itself.

The benchmarks of our provers run this beside them. Prints one line of JSON with what the proof took. Large models
need minutes and up to 22 GB, alone on the machine. The reference string is made by our own tool, which is faster.

    python benchmarks/ezkl_alone.py MODEL.onnx
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def cpu_seconds() -> float:
    """Return the CPU seconds of all threads of this process so far."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    """Calibrate, set up, prove and verify, with a public input and output and the weights in the key."""
    import balance_zkml_prover
    import ezkl

    path = Path(sys.argv[1]).resolve()
    samples = np.load(path.with_suffix(".npz"))["x"]
    with tempfile.TemporaryDirectory() as scratch:
        file = {name: str(Path(scratch, name)) for name in (
            "settings", "compiled", "srs", "vk", "pk", "data", "witness", "proof", "known")}  # fmt: skip
        for name, rows in (("data", samples[-1:]), ("known", samples[:20])):
            Path(file[name]).write_text(json.dumps({"input_data": [rows.reshape(len(rows), -1).flatten().tolist()]}))
        ruled = ezkl.PyRunArgs()
        ruled.input_visibility, ruled.output_visibility, ruled.param_visibility = "public", "public", "fixed"
        ezkl.gen_settings(str(path), file["settings"], py_run_args=ruled)
        ezkl.calibrate_settings(file["known"], str(path), file["settings"], "resources")
        k = json.loads(Path(file["settings"]).read_text())["run_args"]["logrows"]
        ezkl.compile_circuit(str(path), file["compiled"], file["settings"])
        balance_zkml_prover.make_test(k, Path(file["srs"]))
        start = time.perf_counter()
        ezkl.setup(file["compiled"], file["vk"], file["pk"], file["srs"])
        prepared = time.perf_counter() - start
        ezkl.gen_witness(file["data"], file["compiled"], file["witness"])
        start, cpu = time.perf_counter(), cpu_seconds()
        ezkl.prove(file["witness"], file["compiled"], file["pk"], file["proof"], file["srs"])
        wall, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        if not ezkl.verify(file["proof"], file["settings"], file["vk"], file["srs"]):
            raise SystemExit("ezkl does not verify its own proof")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"k": k, "setup": prepared, "wall": wall, "cpu": cpu, "memory": memory}))


if __name__ == "__main__":
    main()
