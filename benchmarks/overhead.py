"""What the pipeline adds to ezkl: its whole time beside the same ezkl calls in one bare script, on the same model.

A first run chooses the settings, makes the reference string and, traced, counts the calls to ezkl. Then pairs are
timed, interleaved because machines drift: `balance run` with these settings in a data folder of its own, and a bare
script that makes as many of each call. Both start from files and end with a verified proof.
Bar: at most 1.02 times the bare script's time plus one second.

    python benchmarks/overhead.py [model.onnx inputs.npy] [--pairs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

FACTOR, SECONDS = 1.02, 1.0
INPUTS = 20
SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
BUNDLED = Path(__file__).resolve().parents[1] / "balance_core" / "examples" / "mnist"

TRACE = """
import importlib.util, os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "balance_ezkl.tool":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def traced(module):
            execute(module)
            call = module.call
            def counting(function, *arguments, **options):
                with open(os.environ["EZKL_CALLS"], "a") as log:
                    log.write(function + chr(10))
                return call(function, *arguments, **options)
            module.call = counting
        spec.loader.exec_module = traced
        return spec
sys.meta_path.insert(0, Finder())
"""

BARE = """
import json, sys
import ezkl

graph, inputs, string, options, counts = sys.argv[1:]
options, counts = json.loads(options), json.loads(counts)
run = ezkl.PyRunArgs()
for name, value in options.items():
    setattr(run, name, tuple(value) if isinstance(value, list) else value)
for _ in range(counts["gen_settings"]):
    assert ezkl.gen_settings(graph, "settings.json", py_run_args=run)
for _ in range(counts["compile_circuit"]):
    assert ezkl.compile_circuit(graph, "compiled", "settings.json")
for _ in range(counts["setup"]):
    assert ezkl.setup("compiled", "vk.key", "pk.key", string)
samples = json.load(open(inputs))
for number in range(counts["gen_witness"]):
    json.dump({"input_data": samples[number % len(samples)]}, open("input.json", "w"))
    ezkl.gen_witness("input.json", "compiled", "witness.json")
for _ in range(counts["prove"]):
    ezkl.prove("witness.json", "compiled", "pk.key", "proof.json", string)
for _ in range(counts["verify"]):
    assert ezkl.verify("proof.json", "settings.json", "vk.key", string)
"""
VISIBILITY = {"input_visibility": "public", "output_visibility": "public", "param_visibility": "fixed"}


def balance(home: Path, *arguments: str, **environment: str) -> str:
    """Run the command line in a data folder and return what it prints."""
    command = [sys.executable, "-m", "balance_core.cli", *arguments]
    variables = {**os.environ, "BALANCE_HOME": str(home), **environment}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout


def trace(folder: Path, model: Path, inputs: Path, options: list[str]) -> Counter[str]:
    """Count the calls to ezkl of one run with fixed settings."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(TRACE)
    log = folder / "calls"
    home = fresh_home(folder, "traced")
    balance(home, "run", str(model), "-i", str(inputs), *options, PYTHONPATH=str(site), EZKL_CALLS=str(log))
    return Counter(log.read_text().split())


def fresh_home(folder: Path, name: str) -> Path:
    """Return an empty data folder that holds the reference string and nothing else."""
    home = folder / name
    shutil.copytree(folder / "first" / "srs", home / "srs")
    return home


def graph_of(model: Path, target: Path) -> None:
    """Write the graph that the backend hands to ezkl: in normal form, with the context's input."""
    from balance_ezkl.graph import expanded, with_context

    from balance_core.model import load

    target.write_bytes(with_context(expanded(load.load(model))))


def timed(work: object, *arguments: object, **options: object) -> float:
    """Return the wall seconds of a call."""
    begun = time.perf_counter()
    work(*arguments, **options)  # type: ignore[operator]
    return time.perf_counter() - begun


def main() -> None:
    """Measure and exit with 1 past the bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "files", nargs="*", type=Path, help="model and inputs; by default mnist_cnn, or the bundled one"
    )
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.files:
            model, inputs = given.files
        else:
            cnn = SHARED / "mnist_cnn.onnx"
            model, stored = (cnn, cnn.with_suffix(".npz")) if cnn.exists() else (
                BUNDLED / "mnist_mlp.onnx", BUNDLED / "digits.npz"
            )  # fmt: skip
            inputs = folder / "x.npy"
            np.save(inputs, np.load(stored)["x"][:INPUTS])
        receipt = json.loads(balance(folder / "first", "run", str(model), "-i", str(inputs), "--json"))
        settings = receipt["settings"]
        options = [
            part
            for key, value in settings.items()
            if value is not None
            for part in ("-o", f"{key}={json.dumps(value)}")
        ]
        counts = trace(folder, model, inputs, options)
        print(f"{model.name}, k={receipt['facts']['k']}; calls to ezkl: {dict(counts)}")

        graph_of(model, folder / "graph.onnx")
        samples = np.load(inputs)
        context = [0] * 16
        flat = [[context, [float(v) for v in sample.reshape(-1)]] for sample in samples]
        (folder / "samples.json").write_text(json.dumps(flat))
        (folder / "bare.py").write_text(BARE)
        known = ("input_scale", "param_scale", "scale_rebase_multiplier", "lookup_range", "logrows", "num_inner_cols",
                 "decomp_base", "decomp_legs", "ignore_range_check_inputs_outputs")  # fmt: skip
        run_args = {**VISIBILITY, **{key: settings[key] for key in known if settings.get(key) is not None}}
        string = next((folder / "first" / "srs").glob("*.srs"))
        ratios, ours, theirs = [], [], []
        for pair in range(given.pairs):
            bare = folder / f"bare-{pair}"
            bare.mkdir()
            script = [sys.executable, folder / "bare.py", folder / "graph.onnx", folder / "samples.json", string]
            script += [json.dumps(run_args), json.dumps(counts)]
            theirs.append(timed(subprocess.run, script, check=True, cwd=bare, capture_output=True))
            home = fresh_home(folder, f"home-{pair}")
            ours.append(timed(balance, home, "run", str(model), "-i", str(inputs), *options))
            ratios.append((ours[-1] - SECONDS) / theirs[-1])
            print(f"pair {pair}: balance run {ours[-1]:.2f} s, bare ezkl script {theirs[-1]:.2f} s", flush=True)
    print(f"median: balance run {statistics.median(ours):.2f} s, bare {statistics.median(theirs):.2f} s")
    best = statistics.median(ratios)
    print(f"(balance - {SECONDS:g} s) / bare = {best:.3f}, median of pairs (bar {FACTOR})")
    sys.exit(best > FACTOR)


if __name__ == "__main__":
    main()
