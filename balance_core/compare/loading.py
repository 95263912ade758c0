"""Reading folders of results: bounded, validated, merged over machines. What cannot be read is named, not fatal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import canonical
from balance_core.compare.results import Cell, Machine
from balance_core.errors import BalanceError, ConfigError
from balance_core.files import read_limited, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.records import Record

MACHINE_FILE = "machine.json"
MAX_CELL_BYTES = 4 * 2**20
MAX_MACHINE_BYTES = 2**18
MAX_MACHINES = 200
MAX_CELLS = 20_000
"""Largest number of files of one folder of results that are looked at."""
_PROGRESS = "."
"""Files and folders whose name begins so are the harness's own: cells under way, the lock."""


@dataclass(frozen=True)
class Unreadable:
    """A file that is no result, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Results:
    """What folders of results hold: machines by name, cells by path, and what could not be read."""

    machines: dict[str, Machine]
    cells: tuple[Cell, ...]
    unreadable: tuple[Unreadable, ...] = ()

    def by_path(self) -> dict[str, Cell]:
        """Return the cells by their path."""
        return {cell.path: cell for cell in self.cells}


def load(*folders: Path | str) -> Results:
    """Read one folder of results or several, machines merged.

    Where two folders hold the same cell, the one that ended later counts. Raises ConfigError for a folder that does
    not exist or holds no machine, and for more files than a comparison has.
    """
    machines: dict[str, Machine] = {}
    cells: dict[str, Cell] = {}
    unreadable: list[Unreadable] = []
    for folder in map(Path, folders):
        found = _load(folder)
        machines |= found.machines
        unreadable += found.unreadable
        for cell in found.cells:
            before = cells.get(cell.path)
            if before is None or before.ended <= cell.ended:
                cells[cell.path] = cell
    return Results(machines, tuple(cells[path] for path in sorted(cells)), tuple(unreadable))


def _load(folder: Path) -> Results:
    machines: dict[str, Machine] = {}
    cells: list[Cell] = []
    unreadable: list[Unreadable] = []
    looked_at = 0
    for place in _folders(folder):
        try:
            machine = read_machine(place / MACHINE_FILE)
        except BalanceError as error:
            if (place / MACHINE_FILE).exists():
                unreadable.append(Unreadable(f"{place.name}/{MACHINE_FILE}", error.message))
            continue
        if machine.name != place.name:
            reason = f"it is of the machine {machine.name!r}, and lies in the folder {place.name!r}"
            unreadable.append(Unreadable(f"{place.name}/{MACHINE_FILE}", reason))
            continue
        machines[machine.name] = machine
        for path in _files(place):
            looked_at += 1
            if looked_at > MAX_CELLS:
                raise ConfigError(f"{str(folder)!r} holds more than {MAX_CELLS} files", hint="merge fewer results")
            key = path.relative_to(folder).as_posix()
            try:
                cells.append(read_cell(path, key))
            except BalanceError as error:
                unreadable.append(Unreadable(key, error.message))
    if not machines:
        raise ConfigError(
            f"{str(folder)!r} holds no results",
            hint="a folder of results has a folder for each machine; `balance compare` makes them",
        )
    return Results(machines, tuple(cells), tuple(unreadable))


def _folders(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {str(folder)!r}", hint="`balance compare` makes one: --results FOLDER")
    places = [place for place in sorted(folder.iterdir()) if _is_ours(place) and place.is_dir()]
    if len(places) > MAX_MACHINES:
        raise ConfigError(f"{str(folder)!r} holds more than {MAX_MACHINES} machines", hint="merge fewer results")
    yield from places


def _files(place: Path) -> Iterator[Path]:
    for model in sorted(place.iterdir()):
        if _is_ours(model) and model.is_dir():
            yield from (path for path in sorted(model.iterdir()) if _is_ours(path) and path.suffix == ".json")


def _is_ours(path: Path) -> bool:
    return not path.name.startswith(_PROGRESS) and not path.is_symlink()


def read_machine(path: Path) -> Machine:
    """Read a machine.json; raises ConfigError."""
    value = canonical.decode(
        read_limited(path, max_size=MAX_MACHINE_BYTES, what="machine"), max_size=MAX_MACHINE_BYTES, what=path.name
    )
    return Machine.from_value(value)


def read_cell(path: Path, key: str | None = None) -> Cell:
    """Read a cell's file, which must lie where its content says; raises ConfigError.

    `key` is its path below the folder of results; by default the last three parts of `path`.
    """
    key = key or "/".join(path.parts[-3:])
    data = read_limited(path, max_size=MAX_CELL_BYTES, what="result")
    cell = Cell.from_value(canonical.decode(data, max_size=MAX_CELL_BYTES, what=path.name))
    if cell.path != key:
        raise ConfigError(f"{key} holds the result of {cell.path}", hint="the path is the key: do not rename results")
    return cell


def write_record(path: Path, record: Record) -> None:
    """Write a result so that it is whole or absent, in lines that a version control system can compare."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_whole(path, text.encode() + b"\n")
