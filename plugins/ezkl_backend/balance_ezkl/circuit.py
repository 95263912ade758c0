"""A circuit before its keys: ezkl's arguments, the settings that follow from them, and the compiled graph."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from balance_core import canonical
from balance_ezkl.tool import call, ezkl

if TYPE_CHECKING:
    from pathlib import Path

    from balance_ezkl.settings import EzklSettings

LEAST_BLINDING = 16
"""Rows of a column that hold no cells, generously: blinding factors and a last row that ezkl keeps free."""
ANY_LOOKUP = (-(2**15), 2**15)


@dataclass(frozen=True)
class Arguments:
    """What the search varies; everything else is the same for all candidates."""

    input_scale: int = 7
    param_scale: int = 7
    multiplier: int = 1
    base: int = 2**14
    legs: int = 2
    logrows: int = 17
    inner: int = 2
    lookup_range: tuple[int, int] = ANY_LOOKUP

    @property
    def limit(self) -> int:
        """What the size of every value stays below."""
        return int(self.base**self.legs)

    def with_room(self, bits: int) -> Arguments:
        """Return the same with a range of values narrower by so many bits."""
        return replace(self, base=max(2, self.base >> ceil(bits / self.legs)))


@dataclass(frozen=True)
class Layout:
    """How ezkl lays a graph out under some arguments."""

    arguments: Arguments
    settings: dict[str, Any]
    """settings.json, without its timestamp and in one order."""

    @property
    def rows(self) -> int:
        """Rows that the computation takes, over all blocks."""
        return int(self.settings["num_rows"])

    @property
    def cells(self) -> int:
        """Cells of one of the three columns' worth of a block row."""
        return int(self.settings["total_assignments"])

    @property
    def lookups(self) -> int:
        """Number of lookup tables."""
        return len(self.settings["required_lookups"])

    def save(self, path: Path) -> None:
        """Write the settings as ezkl reads them."""
        path.write_bytes(canonical.encode(self.settings))


def lay_out(graph: Path, arguments: Arguments, options: EzklSettings, scratch: Path) -> Layout:
    """Let ezkl lay a graph out; raises EzklFailed."""
    run = ezkl().PyRunArgs()
    run.input_visibility = run.output_visibility = "public"
    run.param_visibility = "fixed"
    run.variables = [("batch_size", 1)]
    run.input_scale, run.param_scale = arguments.input_scale, arguments.param_scale
    run.scale_rebase_multiplier = arguments.multiplier
    run.decomp_base, run.decomp_legs = arguments.base, arguments.legs
    run.logrows, run.num_inner_cols = arguments.logrows, arguments.inner
    run.lookup_range = arguments.lookup_range
    run.ignore_range_check_inputs_outputs = options.ignore_range_check_inputs_outputs
    run.rebase_frac_zero_constants = options.rebase_frac_zero_constants
    run.bounded_log_lookup = options.bounded_log_lookup
    run.disable_freivalds = options.disable_freivalds
    run.check_mode = options.check_mode
    if options.epsilon is not None:
        run.epsilon = options.epsilon
    target = scratch / "settings.json"
    call("gen_settings", str(graph), str(target), py_run_args=run)
    return Layout(arguments, _in_order(json.loads(target.read_bytes())))


def compile_circuit(graph: Path, layout: Layout, target: Path, scratch: Path) -> None:
    """Let ezkl compile a graph under these settings into one file; raises EzklFailed."""
    settings = scratch / "settings.json"
    layout.save(settings)
    call("compile_circuit", str(graph), str(target), str(settings))


def _in_order(settings: dict[str, Any]) -> dict[str, Any]:
    """Put in one order what ezkl writes in the order of a hash table: its circuits follow the order in this file."""
    del settings["timestamp"]
    for name in ("required_lookups", "required_range_checks"):
        settings[name] = sorted(settings[name], key=canonical.encode)
    return settings
