"""The figures of a comparison and what they mean, derived from raw results by one table.

Nothing derived is stored: a mistake in a formula is mended here, and old results are right again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from balance_core.compare.table import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from balance_core.compare.results import Cell

PROVING_SIDE = ("setup", "commit", "execute", "prove")
"""The stages that the provider's machine must have room for."""
_HOUR = 3600.0


@dataclass(frozen=True)
class Price:
    """What an hour of the proving machine costs, as the user says."""

    hour: float
    currency: str = "USD"


@dataclass(frozen=True)
class View:
    """A cell with what its metrics depend on besides: a price, and the other cells of the same conditions."""

    cell: Cell
    peers: tuple[Cell, ...] = ()
    price: Price | None = None


@dataclass(frozen=True)
class Metric:
    """One figure: how it is called, what it is counted in, which way is better, and where it comes from."""

    name: str
    label: str
    unit: str
    """s, B, gas, count, 1/s, share, bits, money, or nothing."""
    better: str
    """`less`, `more`, or nothing where neither is."""
    group: str
    means: str
    function: Callable[[View], Value | None]


def exactly(number: float | None) -> Value | None:
    """Return a figure that has no spread; None for what is not known or not a number."""
    if number is None or not math.isfinite(number):
        return None
    return Value(number, number, number)


def of(samples: Iterable[float]) -> Value | None:
    """Return the median of samples with their smallest and largest."""
    found = sorted(samples)
    return Value(median(found), found[0], found[-1], len(found)) if found else None


def _wall(stage: str, view: View) -> Value | None:
    return of(sample.wall_seconds for sample in view.cell.samples(stage))


def _cpu(stage: str, view: View) -> Value | None:
    return of(sample.cpu_seconds for sample in view.cell.samples(stage))


def _peak(stages: Sequence[str], view: View) -> Value | None:
    """Return the hungriest stage's peak; of repeats the median, since the largest grows with their number."""
    peaks = [of(float(sample.peak_memory_bytes) for sample in view.cell.samples(stage)) for stage in stages]
    return max((peak for peak in peaks if peak is not None), key=lambda peak: peak.middle, default=None)


def _size(part: str, view: View) -> Value | None:
    return exactly(getattr(view.cell.sizes, part))


def _gas(part: str, view: View) -> Value | None:
    return exactly(getattr(view.cell.gas, part))


def _fact(names: Sequence[str], view: View) -> Value | None:
    """Return the first number that the backend tells under one of the names; `log_` names hold logarithms."""
    facts = view.cell.circuit.facts if view.cell.circuit else {}
    for name in names:
        number = facts.get(name)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            logarithm = name in {"k", "log_rows"}
            if logarithm and not 0 <= number <= 64:
                continue
            return exactly(2.0**number if logarithm else float(number))
    return None


def _macs_per_second(view: View) -> Value | None:
    took, macs = _wall("prove", view), view.cell.model.macs
    if took is None or not macs or not took.low:
        return None
    return Value(macs / took.middle, macs / took.high, macs / took.low, took.samples)


def _agreement(view: View) -> Value | None:
    found = view.cell.faithfulness
    return exactly(found.fidelity.top1_agreement) if found else None


def _largest_error(view: View) -> Value | None:
    found = view.cell.faithfulness
    return exactly(found.fidelity.largest_error) if found else None


def _mean_error(view: View) -> Value | None:
    found = view.cell.faithfulness
    return exactly(found.fidelity.mean_error) if found else None


def _bits(view: View) -> Value | None:
    """Return how often the largest error fits into the range of the float model's outputs, as a logarithm."""
    found = view.cell.faithfulness
    if found is None or not found.float_range > 0 or not 0 < found.fidelity.largest_error < math.inf:
        return None
    return exactly(math.log2(found.float_range / found.fidelity.largest_error))


def _proven(view: View) -> Value | None:
    found = view.cell.faithfulness
    return exactly(found.proven_fraction) if found else None


def _cost(view: View) -> Value | None:
    took = _wall("prove", view)
    if view.price is None or took is None:
        return None
    rate = view.price.hour / _HOUR * 1000
    return Value(took.middle * rate, took.low * rate, took.high * rate, took.samples)


def preparing(cell: Cell) -> float | None:
    """Return the seconds of everything before the first proof, by medians; None if it was not set up."""
    view = View(cell)
    parts = [_wall(stage, view) for stage in ("setup", "commit")]
    return sum(part.middle for part in parts if part is not None) if parts[0] is not None else None


def _break_even(view: View) -> Value | None:
    """Return after how many proofs the slower setup is paid back against the peer that is ready soonest.

    0 where no peer is ready sooner; absent where proving is not faster than that peer's, so that it never is.
    """
    own_setup, own_prove = preparing(view.cell), _wall("prove", view)
    known = ((preparing(peer), _wall("prove", View(peer))) for peer in view.peers)
    others = [(ready, took.middle) for ready, took in known if ready is not None and took is not None]
    if own_setup is None or own_prove is None or not others:
        return None
    ready, prove = min(others)
    if own_setup <= ready:
        return exactly(0.0)
    saved = prove - own_prove.middle
    return exactly(float(math.ceil((own_setup - ready) / saved))) if saved > 0 else None


def _stage(stage: str, label: str, doing: str) -> list[Metric]:
    """Return the figures that every stage has."""
    seconds = Metric(f"{stage}_seconds", label, "s", "less", "time",
                     f"Seconds of wall time {doing}; median of all samples.", partial(_wall, stage))  # fmt: skip
    cpu = Metric(f"{stage}_cpu_seconds", f"{label} CPU", "s", "less", "cpu",
                 f"Processor seconds {doing}, over all processes and threads.", partial(_cpu, stage))  # fmt: skip
    peak = Metric(f"{stage}_memory_bytes", f"{label} memory", "B", "less", "memory",
                  f"Peak resident memory of the whole process tree {doing}.", partial(_peak, (stage,)))  # fmt: skip
    return [seconds, cpu, peak]


def _parts(
    names: dict[str, tuple[str, str]], unit: str, group: str, source: Callable[..., Value | None], suffix: str
) -> list[Metric]:
    return [Metric(f"{name}_{suffix}", label, unit, "less", group, means, partial(source, name))
            for name, (label, means) in names.items()]  # fmt: skip


METRICS: tuple[Metric, ...] = (
    *_stage("setup", "Setup", "to make the circuit and its keys"),
    *_stage("commit", "Commit", "to commit to the weights, where the key does not bind them"),
    *_stage("execute", "Answer", "to answer all inputs in integers, without proofs"),
    *_stage("prove", "Prove", "to prove one answer"),
    *_stage("verify", "Verify", "to check one proof in a fresh process"),
    Metric("memory_bytes", "Memory", "B", "less", "memory",
           "Peak resident memory of the hungriest stage on the provider's side.", partial(_peak, PROVING_SIDE)),
    *_parts({
        "proving_key": ("Proving key", "Bytes of what only the prover needs, reference strings excepted."),
        "verifying_key": ("Verifying key", "Bytes of all that the verifier relies on."),
        "commitment": ("Commitment", "Bytes of the public commitment to the weights."),
        "proof": ("Proof", "Bytes of the largest proof."),
        "bundle": ("Bundle", "Bytes of the file that anybody can check offline."),
        "calldata": ("Calldata", "Bytes of the transaction that has a contract check a proof."),
    }, "B", "size", _size, "bytes"),
    *_parts({
        "deploy": ("Deploy gas", "Gas of deploying the verifying contract, once for each chain."),
        "circuit": ("Circuit gas", "Gas of telling the contract of a circuit, once for each circuit."),
        "verify": ("Verify gas", "Gas of having the contract check one proof."),
    }, "gas", "chain", _gas, "gas"),
    Metric("rows", "Rows", "count", "less", "circuit", "Rows of the circuit's largest table, as the backend tells.",
           partial(_fact, ("rows", "log_rows", "k"))),
    Metric("constraints", "Constraints", "count", "less", "circuit", "Constraints, as the backend tells.",
           partial(_fact, ("constraints",))),
    Metric("steps", "Steps", "count", "less", "circuit", "Steps of the proven program, as the backend tells.",
           partial(_fact, ("steps", "cycles"))),
    Metric("macs_per_second", "MAC/s", "1/s", "more", "time",
           "Multiply-adds of the model for each second of proving.", _macs_per_second),
    Metric("top1_agreement", "Agreement", "share", "more", "fidelity",
           "Share of the inputs on which the proven answer decides as the float model does.", _agreement),
    Metric("largest_error", "Largest error", "", "less", "fidelity",
           "Largest absolute difference from the float model's outputs.", _largest_error),
    Metric("mean_error", "Mean error", "", "less", "fidelity",
           "Mean absolute difference from the float model's outputs.", _mean_error),
    Metric("bits", "Bits kept", "bits", "more", "fidelity",
           "log2 of the float outputs' range over the largest error.", _bits),
    Metric("proven_fraction", "Proven", "share", "more", "fidelity",
           "Share of the statement's numbers that the proof covers.", _proven),
    Metric("cost_per_1000", "Cost of 1,000", "money", "less", "money",
           "What proving 1,000 answers one after another costs, at the price of the machine's hour.", _cost),
    Metric("break_even", "Pays back after", "proofs", "less", "money",
           "After how many proofs a slower setup is paid back against the backend that is ready soonest; "
           "0: it is the one that is ready soonest.", _break_even),
)  # fmt: skip
"""Every figure, in the order of a table's columns."""

BY_NAME = {metric.name: metric for metric in METRICS}
GROUPS = {
    "time": "Time", "cpu": "Processor time", "memory": "Memory", "size": "Sizes", "chain": "On chain",
    "circuit": "Circuit", "fidelity": "Fidelity", "money": "Money",
}  # fmt: skip
MAIN = (
    "setup_seconds", "prove_seconds", "verify_seconds", "prove_cpu_seconds", "memory_bytes", "proof_bytes",
    "verify_gas", "top1_agreement", "bits", "cost_per_1000", "break_even",
)  # fmt: skip
"""What a narrow table shows."""


def values(view: View) -> dict[str, Value]:
    """Return all figures of a cell that are known, and that are numbers."""
    found = ((metric.name, metric.function(view)) for metric in METRICS)
    return {
        name: value
        for name, value in found
        if value is not None and all(map(math.isfinite, (value.low, value.middle, value.high)))
    }


def predicted(cell: Cell) -> dict[str, float]:
    """Return what `check` expected, by the name of the figure that it expected."""
    if cell.estimate is None:
        return {}
    names = ("setup_seconds", "prove_seconds", "memory_bytes")
    return {name: float(number) for name in names if (number := getattr(cell.estimate, name)) is not None}
