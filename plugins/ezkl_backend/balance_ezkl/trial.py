"""Trying arguments on samples: whether the values fit the circuit's range, and how often its answers are right."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_ezkl import witness
from balance_ezkl.agreement import Yardstick
from balance_ezkl.circuit import Arguments, Layout, compile_circuit, lay_out
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from balance_core.contracts import Samples
    from balance_core.records import TensorSpec
    from balance_ezkl.settings import EzklSettings

NO_CONTEXT = bytes(witness.CONTEXT_BYTES)


class Trial:
    """The samples of one search, and what has been learned from them."""

    def __init__(
        self,
        graph: Path,
        interface: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
        samples: Samples,
        options: EzklSettings,
        scratch: Path,
    ) -> None:
        self.graph, self.samples, self.options, self.scratch = graph, samples, options, scratch
        self.input_specs, self.output_specs = interface
        self.picked = _spread(_count(samples), options.max_samples)
        self.yardstick = Yardstick.of(samples.outputs)
        self.probes = self._extremes()
        self._layouts: dict[Arguments, Layout] = {}
        self._too_narrow: dict[tuple[int, int, int], int] = {}
        self._wide_enough: dict[tuple[int, int, int], tuple[int, tuple[int, int]]] = {}

    def layout(self, arguments: Arguments) -> Layout:
        """Return the layout under these arguments; raises EzklFailed."""
        known = self._layouts.get(arguments)
        if known is None:
            known = self._layouts[arguments] = lay_out(self.graph, arguments, self.options, self.scratch)
        return known

    def fit(self, arguments: Arguments, scale: int) -> Arguments | None:
        """Return the arguments at this scale, with their lookup range, or None where a probe does not fit them."""
        options = self.options
        scaled = replace(
            arguments,
            input_scale=scale if options.input_scale is None else options.input_scale,
            param_scale=scale if options.param_scale is None else options.param_scale,
        )
        key = scaled.input_scale, scaled.param_scale, scaled.multiplier
        limit = scaled.with_room(options.headroom_bits).limit
        if limit <= self._too_narrow.get(key, 0):
            return None
        enough, lookups = self._wide_enough.get(key, (limit + 1, (0, 0)))
        if limit < enough:
            try:
                found = [seen for _, seen in self._answers(scaled, self.probes)]
            except (ConfigError, EzklFailed):
                self._too_narrow[key] = limit
                return None
            lookups = min(low for low, _ in found), max(high for _, high in found)
            self._wide_enough[key] = limit, lookups
        return self._with_tables(scaled, lookups)

    def agreement(self, arguments: Arguments, *, to_the_end: bool = False) -> float | None:
        """Return the share of samples that are answered as the float model does, or None where one leaves the range.

        Unless asked to go to the end it stops once the share wanted is out of reach, and tells the share so far.
        """
        scales = self.layout(arguments).settings["model_output_scales"]
        allowed = floor(len(self.picked) * (1 - self.options.min_agreement) + 1e-9)
        wrong = done = 0
        try:
            for index, (outputs, lookups) in zip(self.picked, self._answers(arguments, self.picked), strict=True):
                if not self._covers(arguments, lookups):
                    return None
                done += 1
                wrong += not self._agrees(index, outputs, scales)
                if wrong > allowed and not to_the_end:
                    break
        except ConfigError:
            return None
        return 1 - wrong / done

    def _with_tables(self, arguments: Arguments, lookups: tuple[int, int]) -> Arguments | None:
        """Return the arguments with tables as wide as the probes need and a margin, or None where they do not fit."""
        options = self.options
        if options.lookup_range is not None:
            return replace(arguments, lookup_range=options.lookup_range)
        low, high = (
            floor(options.lookup_safety_margin * lookups[0]) - 1,
            ceil(options.lookup_safety_margin * lookups[1]) + 1,
        )
        # A table of one column: what does not fit costs a lookup argument more for each column of the circuit.
        widest = (1 << (arguments.logrows - 1)) - 16
        return replace(arguments, lookup_range=(low, high)) if -widest <= low and high <= widest else None

    def _covers(self, arguments: Arguments, lookups: tuple[int, int]) -> bool:
        low, high = arguments.lookup_range
        return not self.layout(arguments).lookups or low <= lookups[0] <= lookups[1] <= high

    def _answers(
        self, arguments: Arguments, indices: Sequence[int]
    ) -> Iterator[tuple[list[list[int]], tuple[int, int]]]:
        """Yield outputs and lookup inputs of samples, within the range of values less the headroom."""
        narrow = replace(arguments.with_room(self.options.headroom_bits), lookup_range=(-1, 1))
        layout = self.layout(narrow)
        compiled = self.scratch / "candidate"
        compile_circuit(self.graph, layout, compiled, self.scratch)
        scales = layout.settings["model_input_scales"][1:]
        for index in indices:
            values = witness.quantise_all(self._sample(index), self.input_specs, scales, narrow.limit)
            answer = witness.compute(compiled, values, NO_CONTEXT)
            yield answer.outputs, answer.lookups

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
            sizes = np.abs(np.asarray(array, dtype=np.float64)[self.picked]).reshape(len(self.picked), -1)
            found.append(self.picked[int(np.argmax(sizes.max(axis=1, initial=0.0)))])
        return sorted(set(found))


def _count(samples: Samples) -> int:
    return min((len(array) for array in samples.inputs.values()), default=0)


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many indices, evenly spread over all samples."""
    if count == 0:
        raise ConfigError("a circuit cannot be chosen without samples", hint="give at least one input")
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]
