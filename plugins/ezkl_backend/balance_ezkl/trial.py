"""Trying arguments on samples: whether the values fit the circuit's range, and how often its answers are right."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil, floor
from operator import ge, le
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_ezkl import witness
from balance_ezkl.agreement import Yardstick
from balance_ezkl.circuit import Arguments, Layout, compile_circuit, lay_out
from balance_ezkl.plans import TABLE_COLUMNS
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from balance_core.contracts import Samples
    from balance_core.records import TensorSpec
    from balance_ezkl.answer import Answer
    from balance_ezkl.crew import Crew
    from balance_ezkl.settings import EzklSettings


@dataclass(frozen=True)
class Tally:
    """How many of so many samples were answered otherwise than by the float model."""

    wrong: int
    done: int

    @property
    def share(self) -> float:
        """The share that agrees."""
        return 1 - self.wrong / self.done


@dataclass(frozen=True)
class Probe:
    """What was learned about a scale of inputs and weights, under some limit on the size of values."""

    scales: tuple[int, int]
    limit: int
    lookups: tuple[int, int] | None
    """The range of what was looked up in tables; None where a value reached the limit."""


class Trial:
    """The samples of one search, and what has been learned from them."""

    def __init__(
        self,
        graph: Path,
        interface: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
        samples: Samples,
        options: EzklSettings,
        place: tuple[Path, Crew],
    ) -> None:
        self.graph, self.samples, self.options = graph, samples, options
        self.scratch, self.crew = place
        self.input_specs, self.output_specs = interface
        self.yardstick = Yardstick.of(samples.outputs)
        self.everything = self.yardstick.hardest_first(range(_count(samples)))
        self.picked = _spread(self.everything, options.max_samples, front=self.yardstick.has_margins)
        self.probes = self._extremes()
        self._layouts: dict[Arguments, Layout] = {}
        self._has_tables = False
        self._known: dict[int, list[Probe]] = {}

    def layout(self, arguments: Arguments) -> Layout:
        """Return the layout under these arguments; raises EzklFailed."""
        known = self._layouts.get(arguments)
        if known is None:
            known = self._layouts[arguments] = lay_out(self.graph, arguments, self.options, self.scratch)
            self._has_tables = self._has_tables or known.lookups > 0
        return known

    def fit(self, arguments: Arguments, scale: int) -> Arguments | None:
        """Return the arguments at this scale, with their lookup range, or None where a probe does not fit them."""
        options = self.options
        scaled = replace(
            arguments,
            input_scale=scale if options.input_scale is None else options.input_scale,
            param_scale=scale if options.param_scale is None else options.param_scale,
        )
        found = self._probe(scaled)
        return None if found is None else self._with_tables(scaled, found)

    def _probe(self, arguments: Arguments) -> tuple[int, int] | None:
        """Return the range of what the probes look up in tables, or None where a probe leaves the range of values.

        A larger scale needs a wider range, which spares most probes.
        """
        known = self._known.setdefault(arguments.multiplier, [])
        scales = arguments.input_scale, arguments.param_scale
        limit = arguments.with_room(self.options.headroom_bits).limit
        for probe in known:
            no_less = all(map(le, scales, probe.scales)), all(map(ge, scales, probe.scales))
            if probe.lookups is None and no_less[1] and limit <= probe.limit:
                return None
            if (
                probe.lookups is not None
                and no_less[0]
                and limit >= probe.limit
                and (no_less[1] or not self._has_tables)
            ):
                return probe.lookups
        try:
            seen = [answer.lookups for answer in self._answers(arguments, self.probes)]
        except (ConfigError, EzklFailed):
            lookups = None
        else:
            lookups = min(low for low, _ in seen), max(high for _, high in seen)
        known.append(Probe(scales, limit, lookups))
        return lookups

    def count(self, arguments: Arguments, indices: Sequence[int], *, most: int | None = None) -> Tally | None:
        """Count the samples that are answered otherwise than by the float model; None where one leaves the range.

        With `most` it gives up once more than so many are wrong.
        """
        scales = self.layout(arguments).settings["model_output_scales"]
        wrong = done = 0
        try:
            with closing(self._answers(arguments, indices)) as answers:
                for index, answer in zip(indices, answers, strict=True):
                    if not self._covers(arguments, answer.lookups):
                        return None
                    done += 1
                    wrong += not self._agrees(index, answer.outputs, scales)
                    if most is not None and wrong > most:
                        break
        except ConfigError:
            return None
        return Tally(wrong, done)

    def _with_tables(self, arguments: Arguments, lookups: tuple[int, int]) -> Arguments | None:
        """Return the arguments with tables as wide as the probes need and a margin, or None where they do not fit."""
        options = self.options
        if options.lookup_range is not None:
            return replace(arguments, lookup_range=options.lookup_range)
        low, high = (
            floor(options.lookup_safety_margin * lookups[0]) - 1,
            ceil(options.lookup_safety_margin * lookups[1]) + 1,
        )
        widest = TABLE_COLUMNS * ((1 << arguments.logrows) - 16) // 2
        return replace(arguments, lookup_range=(low, high)) if -widest <= low and high <= widest else None

    def _covers(self, arguments: Arguments, lookups: tuple[int, int]) -> bool:
        low, high = arguments.lookup_range
        return not self._has_tables or low <= lookups[0] <= lookups[1] <= high

    def _answers(self, arguments: Arguments, indices: Sequence[int]) -> Generator[Answer]:
        """Yield the answers to samples, within the range of values less the headroom."""
        narrow = replace(arguments.with_room(self.options.headroom_bits), lookup_range=(-1, 1))
        layout = self.layout(narrow)
        compiled = self.scratch / "candidate"
        compile_circuit(self.graph, layout, compiled, self.scratch)
        scales = layout.settings["model_input_scales"][1:]
        samples = (
            witness.quantise_all(self._sample(index), self.input_specs, scales, narrow.limit) for index in indices
        )
        yield from self.crew.answers(compiled, samples, len(indices))

    def _sample(self, index: int) -> Mapping[str, np.ndarray]:
        return {name: array[index] for name, array in self.samples.inputs.items()}

    def _agrees(self, index: int, outputs: list[list[int]], scales: Sequence[int]) -> bool:
        specs = self.output_specs
        answer = {
            spec.name: witness.floats(values, spec, scale)
            for spec, values, scale in zip(specs, outputs, scales, strict=True)
        }
        return self.yardstick.agrees(index, answer)

    def _extremes(self) -> list[int]:
        """Return the samples with the largest inputs and outputs, which are the first to leave a range."""
        found = []
        for array in (*self.samples.inputs.values(), *self.samples.outputs.values()):
            sizes = np.abs(np.asarray(array, dtype=np.float64)).reshape(len(array), -1).max(axis=1, initial=0.0)
            found.append(int(np.argmax(sizes)))
        return sorted(set(found))


def _count(samples: Samples) -> int:
    count = min((len(array) for array in samples.inputs.values()), default=0)
    if count == 0:
        raise ConfigError("a circuit cannot be chosen without samples", hint="give at least one input")
    return count


def _spread(indices: Sequence[int], most: int, *, front: bool) -> list[int]:
    """Return at most so many: the first ones, or evenly spread ones."""
    if len(indices) <= most or front:
        return list(indices[:most])
    return [indices[index * len(indices) // most] for index in range(most)]
