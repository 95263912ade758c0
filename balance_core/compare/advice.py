"""Which backend to use for a model: what rules each out, and the others ranked by what they cost here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from balance_core import registry
from balance_core.compare import calibration
from balance_core.compare.report.numbers import show
from balance_core.contracts import ExportsEvmVerifier
from balance_core.errors import BalanceError, ConfigError, PluginError, UnsupportedModel
from balance_core.stages import Capabilities, Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from balance_core.compare.table import Row
    from balance_core.contracts import ProofBackend
    from balance_core.pipeline import Converted
    from balance_core.stages import Support

ON_CHAIN = "onchain"
PROPERTIES = (
    *sorted(
        name for name, field in Capabilities.model_fields.items() if field.annotation is bool and name != "sound"
    ),
    ON_CHAIN,
)
"""What can be asked for: each capability of a backend, and that a contract can check its proofs."""
MEASURED, CALIBRATED, ESTIMATED = "measured here", "estimated, fitted to this machine", "estimated"
_ORDER = {MEASURED: 0, CALIBRATED: 1, ESTIMATED: 2}


@dataclass(frozen=True)
class Needs:
    """What the user asks for; None is no limit."""

    setup_seconds: float | None = None
    prove_seconds: float | None = None
    memory_bytes: int | None = None
    properties: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.properties) - set(PROPERTIES))
        if unknown:
            raise ConfigError(
                f"no backend can say whether it has {unknown[0]!r}", hint=f"--needs takes {', '.join(PROPERTIES)}"
            )


@dataclass(frozen=True)
class Option:
    """A backend that does what is asked, and how that is known."""

    backend: str
    settings: str
    """As they are typed."""
    basis: str
    costs: Mapping[str, float]
    """By the name of the figure: setup_seconds, prove_seconds, memory_bytes and, where measured, top1_agreement."""
    notes: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[float, float, int]:
        """What options are ordered by: seconds of a proof, then memory; what is not known comes last."""
        unknown = float("inf")
        return (self.costs.get("prove_seconds", unknown), self.costs.get("memory_bytes", unknown), _ORDER[self.basis])

    def command(self, model: str, inputs: str | None, needs: Needs) -> str:
        """Return the line to type."""
        words = ["balance", "run", model, "--input", inputs or "x.npy", "--backend", self.backend]
        line = " ".join([*map(shlex.quote, words), *([self.settings] if self.settings else [])])
        return f"{line} --chain evm" if ON_CHAIN in needs.properties else line


@dataclass(frozen=True)
class Dropped:
    """A backend that is not advised, and every reason that is known."""

    backend: str
    reasons: tuple[str, ...]
    settings: str = ""


@dataclass(frozen=True)
class Advice:
    """Options, the best first, and what was dropped."""

    options: tuple[Option, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass
class Counsel:
    """Collects advice backend by backend; a backend that breaks is dropped, and the others go on."""

    model: Path
    needs: Needs
    rows: Sequence[Row] = ()
    """Stored results of any models on any machines."""
    machine: str = ""
    """Which of the machines of stored results is this one."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    converter_settings: Mapping[str, Any] = field(default_factory=dict)
    _converted: Converted | None = None

    def advise(self) -> Advice:
        """Ask every installed backend; raises the error of a model that cannot be read."""
        options: list[Option] = []
        dropped: list[Dropped] = []
        for found in (answer for name in registry.names("backends") for answer in self._ask(name)):
            if isinstance(found, Option):
                options.append(found)
            else:
                dropped.append(found)
        return Advice(tuple(sorted(options, key=lambda option: option.rank)), tuple(dropped))

    def _ask(self, name: str) -> Iterator[Option | Dropped]:
        try:
            plugin: type[ProofBackend] = registry.load("backends", name)
        except PluginError as error:
            yield Dropped(name, (f"it cannot be used: {error.message}",))
            return
        lacking = tuple(self._lacking(plugin))
        if lacking:
            yield Dropped(name, lacking)
            return
        try:
            support = self._check(name)
        except UnsupportedModel as error:
            yield Dropped(name, (error.message,))
            return
        except BalanceError as error:
            if self._converted is None:  # the model itself cannot be read, by anybody
                raise
            yield Dropped(name, (f"its check failed: {error.message}",))
            return
        if not support.ok:
            holes = dict.fromkeys(f"{problem.operator}: {problem.reason}" for problem in support.problems)
            yield Dropped(name, tuple(list(holes)[:5]))
            return
        yield from self._weigh(name, plugin, support)

    def _lacking(self, plugin: type[ProofBackend]) -> Iterator[str]:
        if not plugin.capabilities.sound:
            yield "it is not sound: its proofs prove nothing to anybody"
        for wanted in self.needs.properties:
            has = (
                issubclass(plugin, ExportsEvmVerifier) if wanted == ON_CHAIN else getattr(plugin.capabilities, wanted)
            )
            if not has:
                yield _MISSING.get(wanted, f"it does not offer {wanted.replace('_', ' ')}")

    def _check(self, name: str) -> Support:
        from balance_core.pipeline import Pipeline
        from balance_core.workspace import Workspace

        with Pipeline(workspace=Workspace.default(), backend=name) as pipeline:
            if self._converted is None:
                self._converted = pipeline.convert(
                    self.model, dimensions=self.dimensions, converter_settings=self.converter_settings
                )
            return pipeline.check(self._converted)

    def _weigh(self, name: str, plugin: type[ProofBackend], support: Support) -> Iterator[Option | Dropped]:
        """Yield one answer for each choice of settings that was measured here, or one by the estimate."""
        own = [row for row in self._stored() if row.backend == name and row.version == plugin.version]
        own = [row for row in own if not row.ok or self._hides_enough(row)]
        here = [row for row in own if row.machine == self.machine]
        failed = tuple(
            f"here it ended as {row.status.replace('_', ' ')}{f' at {row.stage}' if row.stage else ''}: {row.reason}"
            for row in here if not row.ok
        )  # fmt: skip
        elsewhere = tuple(f"on {row.machine} a proof took {show(row.get('prove_seconds'), 's')}"
                          for row in own if row.machine != self.machine and row.ok)  # fmt: skip
        for row in (row for row in here if row.ok):
            costs = {figure: value for figure in _FIGURES if (value := row.get(figure)) is not None}
            yield self._judged(Option(name, row.settings, MEASURED, costs))
        if not any(row.ok for row in here):
            costs, basis = _expected(name, plugin, support)
            yield self._judged(Option(name, "", basis, costs, (*failed, *elsewhere)))

    def _hides_enough(self, row: Row) -> bool:
        """Whether what was measured hid all that is to be hidden: a backend that can does not always."""
        return all(what in row.hidden for need, what in _HIDDEN.items() if need in self.needs.properties)

    def _stored(self) -> Iterator[Row]:
        known = self._converted.summary.model_id if self._converted else ""
        return (row for row in self.rows if row.model_id == known)

    def _judged(self, option: Option) -> Option | Dropped:
        """Return the option, or why it is over a limit."""
        over = []
        notes = list(option.notes)
        for figure, (unit, words) in _LIMITED.items():
            limit, cost = getattr(self.needs, figure), option.costs.get(figure)
            if limit is None:
                continue
            if cost is None:
                notes.append(f"{words} is not known")
            elif cost > limit:
                over.append(f"{words} is {show(cost, unit)} ({option.basis}), more than {show(float(limit), unit)}")
        if over:
            return Dropped(option.backend, (*over, *option.notes), option.settings)
        return Option(option.backend, option.settings, option.basis, option.costs, tuple(notes))


_HIDDEN = {"private_input": "inputs", "private_weights": "weights"}
_FIGURES = ("setup_seconds", "prove_seconds", "memory_bytes", "top1_agreement")
_LIMITED = {
    "setup_seconds": ("s", "its setup"),
    "prove_seconds": ("s", "a proof"),
    "memory_bytes": ("B", "its memory"),
}
_MISSING = {
    ON_CHAIN: "no contract can check its proofs",
    "private_input": "its proofs show the input",
    "private_weights": "its keys or proofs can tell the weights",
    "post_quantum": "its soundness rests on discrete logarithms or pairings",
    "transparent_setup": "its public parameters hold a secret that somebody has to have forgotten",
    "zero_knowledge": "its proofs may tell more than their statement",
}


def _expected(name: str, plugin: type[ProofBackend], support: Support) -> tuple[dict[str, float], str]:
    """Return what a backend is expected to need, fitted to this machine where that was done."""
    from balance_core.workspace import Workspace

    fitted = calibration.load(Workspace.default(), name, plugin.version)
    estimate: Estimate = calibration.apply(fitted, support.estimate)
    costs = {figure: float(value) for figure in _LIMITED if (value := getattr(estimate, figure)) is not None}
    return costs, CALIBRATED if fitted else ESTIMATED
