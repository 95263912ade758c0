"""Results as a comparison leaves them, made without one: what reports are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core.compare import loading
from balance_core.compare.results import Cell, Machine

if TYPE_CHECKING:
    from pathlib import Path

HALO2 = {"proof_system": "Halo2 (Plonkish, KZG commitments)", "field": "scalar field of BN254", "sound": True,
         "zero_knowledge": True, "binds_context": True, "deterministic": True, "security_bits": 100,
         "security": {"BN254, estimates since exTNFS": 100, "BN254, generic attacks only": 128}}  # fmt: skip
BACKENDS: dict[str, dict[str, Any]] = {
    "ezkl": {**HALO2, "tool_licence": "none stated in its package"},
    "zkml_halo2": {**HALO2, "private_weights": True},
    "giza_orion": {"sound": True, "transparent_setup": True, "post_quantum": True, "deterministic": True,
                   "security_bits": 96, "proof_system": "circle STARK (FRI) of a Cairo program",
                   "field": "Mersenne-31, extension of degree 4",
                   "security": {"FRI up to capacity, conjectured": 96, "FRI up to the Johnson bound, proven": 59}},
    "integer": {},
}  # fmt: skip
TRUST = {"ezkl": "insecure-test", "zkml_halo2": "ceremony", "giza_orion": "transparent", "integer": "transparent"}
MODELS = {"iris_tree": 260, "cancer_logreg": 60, "mnist_mlp": 25408, "mnist_cnn": 150528, "lenet5": 416520,
          "mnist_transformer": 1150000}  # fmt: skip
COSTS = {
    # setup seconds, prove seconds, verify seconds, prove memory in MiB, proof bytes, agreement
    ("iris_tree", "ezkl"): (1.2, 0.9, 0.05, 210, 9800, 1.0),
    ("iris_tree", "zkml_halo2"): (0.1, 0.19, 0.011, 115, 3340, 1.0),
    ("iris_tree", "giza_orion"): (1.0, 4.1, 0.013, 1780, 820_000, 1.0),
    ("cancer_logreg", "ezkl"): (0.9, 0.5, 0.05, 190, 9100, 0.991),
    ("cancer_logreg", "zkml_halo2"): (0.1, 0.12, 0.011, 112, 3100, 1.0),
    ("cancer_logreg", "giza_orion"): (1.0, 4.0, 0.012, 1770, 800_000, 1.0),
    ("mnist_mlp", "ezkl"): (2.4, 2.9, 0.09, 410, 20_100, 0.985),
    ("mnist_mlp", "zkml_halo2"): (0.5, 0.23, 0.025, 127, 5902, 0.995),
    ("mnist_mlp", "giza_orion"): (1.6, 4.58, 0.014, 1850, 966_000, 0.995),
    ("mnist_cnn", "ezkl"): (9.8, 12.0, 0.11, 1330, 24_300, 0.99),
    ("mnist_cnn", "zkml_halo2"): (0.5, 0.59, 0.014, 153, 4920, 0.985),
    ("mnist_cnn", "giza_orion"): (1.9, 4.34, 0.015, 1850, 872_000, 0.985),
    ("lenet5", "ezkl"): (96.0, 110.0, 0.2, 11_400, 31_000, 0.99),
    ("lenet5", "zkml_halo2"): (1.3, 1.03, 0.024, 207, 9422, 0.99),
    ("lenet5", "giza_orion"): (3.4, 5.53, 0.02, 2390, 1_187_000, 0.99),
    ("mnist_transformer", "zkml_halo2"): (4.7, 3.7, 0.016, 489, 5326, 0.98),
    ("mnist_transformer", "giza_orion"): (2.6, 4.59, 0.026, 2270, 1_416_000, 0.98),
}
_TIME = "2026-02-03T04:05:06Z"


def machine(name: str = "two-cores") -> Machine:
    return Machine(
        name=name, processor="Example 9000", architecture="x86_64", processors=2, physical_cores=2,
        processor_features=("avx2", "adx"), memory_bytes=24 * 2**30, operating_system="Debian 12", kernel="6.1",
        libc="glibc 2.36", python="3.11.2", balance_core="0.1.0", memory_method="VmHWM over the process tree",
        cpu_method="rusage of the worker and its children",
    )  # fmt: skip


def samples(wall: float, memory: float, *, count: int = 3) -> list[dict[str, Any]]:
    """Return samples that differ by a few per cent, the first being the middle one."""
    return [{"repeat": i, "started": _TIME, "load_average": 0.2 * i, "wall_seconds": wall * factor,
             "cpu_seconds": wall * 1.8 * factor, "peak_memory_bytes": int(memory * 2**20)}
            for i, factor in enumerate((1.0, 0.97, 1.05, 0.99, 1.01)[:count])]  # fmt: skip


def cell(model: str, backend: str, *, on: str = "two-cores", **changes: Any) -> Cell:
    """Return a cell that ended well, with the figures of the table above; `changes` replace its fields."""
    setup, prove, verify, memory, proof, agreement = COSTS.get((model, backend), (1.0, 1.0, 0.02, 200, 5000, 1.0))
    macs = changes.pop("macs", MODELS.get(model, 1000))
    family = changes.pop("family", None)
    value: dict[str, Any] = {
        "machine": on, "status": "ok", "started": _TIME, "ended": _TIME,
        "model": {"name": model, "model_id": model_id(model), "sha256": model_id(model), "file_bytes": 102_242,
                  "parameters": 25_450, "macs": macs, "operators": ["Gemm", "Relu"],
                  "inputs": [{"name": "x", "dtype": "float32", "shape": [784]}],
                  "outputs": [{"name": "y", "dtype": "float32", "shape": [10]}], "family": family},
        "backend": {"name": backend, "version": "0.1.0+example", "distribution": f"balance-{backend}",
                    "distribution_version": "0.1.0", "licence": "Apache-2.0",
                    "capabilities": changes.pop("capabilities", BACKENDS.get(backend, {}))},
        "conditions": {"threads": 2, "visibility": {"inputs": "public", "weights": "public", "outputs": "public"},
                       "inputs": "a" * 64, "input_count": 200, "samples": "a" * 64, "sample_count": 100,
                       "repeats": 3},
        "seed": 7,
        "estimate": {"rows": 1024, "log_rows": 10, "setup_seconds": setup * 0.8, "prove_seconds": prove * 1.15,
                     "memory_bytes": int(memory * 0.9) * 2**20},
        "stages": {"setup": {"samples": samples(setup, memory * 0.8)}, "prove": {"samples": samples(prove, memory)},
                   "execute": {"samples": samples(0.4, 100)}, "verify": {"samples": samples(verify, 60)}},
        "circuit": {"circuit_id": "c" * 64, "setup_trust": {"trust": TRUST.get(backend, "transparent")},
                    "settings": {}, "facts": {"rows": 1024}},
        "sizes": {"proving_key": 2_000_000, "verifying_key": 1600, "proof": proof, "bundle": proof + 2100},
        "gas": {"verify": 620_000} if backend == "ezkl" else {},
        "faithfulness": {"fidelity": {"samples": 200, "disagreements": round(200 * (1 - agreement)),
                                      "top1_agreement": agreement, "largest_error": 0.11, "mean_error": 0.02,
                                      "outputs": []},
                         "float_range": 24.0, "distinct_answers": 190, "proven": [3, 17], "proven_fraction": 1.0},
        "tamperings": [{"target": target, "attempt": "one bit", "rejected": True, "verdict": "InvalidProof"}
                       for target in ("proof", "statement")],
        "environment": {"versions": {"balance-core": "0.1.0", backend: "0.1.0"}, "load_average": 0.3,
                        "free_memory_bytes": 20 * 2**30},
    }  # fmt: skip
    return Cell.from_value(value | changes)


def unfinished(model: str, backend: str, status: str, reason: str, stage: str, **changes: Any) -> Cell:
    """Return a cell that did not end well."""
    nothing = {"stages": {}, "circuit": None, "sizes": {}, "gas": {}, "faithfulness": None, "tamperings": []}
    return cell(model, backend, **(nothing | {"status": status, "reason": reason, "stopped_at": stage} | changes))


def model_id(model: str) -> str:
    return model.encode().hex().ljust(64, "0")[:64]


def mnist(on: str = "two-cores") -> list[Cell]:
    """Return a comparison as large as the real one, with all that can go wrong in it."""
    cells = [cell(model, backend, on=on) for model, backend in COSTS]
    cells.append(
        unfinished(
            "mnist_transformer", "ezkl", "out_of_memory", "prove reached its limit of 16.0 GiB", "prove", on=on
        )
    )
    problem = {"node": "trees", "operator": "ai.onnx.ml.TreeEnsembleClassifier", "reason": "no such operator",
               "mend": "expand it first"}  # fmt: skip
    cells.append(
        unfinished("forest", "ezkl", "unsupported", "1 node is not covered", "check", problems=[problem], on=on)
    )
    cells.append(unfinished("forest", "giza_orion", "timeout", "prove took more than 60 s", "prove", on=on))
    cells.append(cell("forest", "zkml_halo2", macs=4000, on=on))
    cells.append(cell("mnist_mlp", "integer", on=on))
    for width in (16, 64, 256, 1024):
        for backend, power in (("ezkl", 1.3), ("zkml_halo2", 0.7), ("giza_orion", 0.2)):
            took = 0.2 * (width / 16) ** power
            memory = 100 * (width / 16) ** 0.5
            stages = {"setup": {"samples": samples(took, 90)}, "prove": {"samples": samples(took, memory)},
                      "verify": {"samples": samples(0.02, 60)}}  # fmt: skip
            estimate = {
                "setup_seconds": took * 0.8,
                "prove_seconds": took * 1.15,
                "memory_bytes": int(memory) * 2**20,
            }
            cells.append(cell(f"ladder-{width}", backend, macs=width**2, family="ladder", stages=stages, on=on,
                              estimate=estimate))  # fmt: skip
    return cells


def store(folder: Path, cells: list[Cell]) -> Path:
    """Write cells as a comparison does, with a machine.json for each machine."""
    for one in cells:
        loading.write_record(folder / one.path, one)
    for name in {one.machine for one in cells}:
        loading.write_record(folder / name / loading.MACHINE_FILE, machine(name))
    return folder
