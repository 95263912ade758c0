"""Options that several commands share, and how they become arguments of the Python API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from balance_core.stages import Limits

InputOption = Annotated[
    Path | None, typer.Option("--input", "-i", help="Inputs: .npy, .npz, .json or .csv.", show_default=False)
]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--samples", help="Typical inputs to choose settings by; by default the inputs.", show_default=False
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option("--backend", "-b", help="The proof system; `balance plugins list` shows them.", show_default=False),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="KEY=VALUE",
        help="A setting of the backend, or of others: chain.KEY, converter.KEY, storage.KEY. Repeatable.",
        show_default=False,
    ),
]
DimensionOption = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="NAME=N", help="The size of a symbolic dimension. Repeatable.", show_default=False),
]
TrustPickleOption = Annotated[
    bool, typer.Option("--trust-pickle", help="Open a pickled model, which can run any code of its author's.")
]
TimeoutOption = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds that each stage may take.", show_default=False)
]
MemoryOption = Annotated[
    str | None, typer.Option(help="Memory that a stage may take, as 4G or 500M.", show_default=False)
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of each stage.", show_default=False)]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Start even if memory is not expected to do, and do not limit it.")
]
NameOption = Annotated[str | None, typer.Option(help="The name to register under.", show_default=False)]
ChainOption = Annotated[str, typer.Option(help="Where to publish registration and proof, or `none`.")]
StorageOption = Annotated[str, typer.Option(help="Where to put the bundle, or `none`.")]
InsecureOption = Annotated[
    bool, typer.Option("--allow-insecure-test", help="Publish a test setup even to a chain that others rely on.")
]
IndexOption = Annotated[int, typer.Option(min=0, help="Which of the inputs to prove, counted from 0.")]
ContextOption = Annotated[
    str | None, typer.Option(help="64 hex digits that name the request; random otherwise.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size(text: str) -> int:
    """Read a number of bytes such as 4G, 500M or 1073741824; raises ConfigError."""
    from balance_core.errors import ConfigError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    number = float(found[1]) * _SIZES[found[2].upper()] if found else 0
    if number < 1:
        raise ConfigError(f"{text!r} is not an amount of memory", hint="for example: --memory 4G")
    return int(number)


def limits(timeout: float | None, memory: str | None, threads: int | None) -> Limits:
    """Return the limits that the options stand for."""
    from balance_core.stages import Limits

    return Limits(seconds=timeout, memory_bytes=size(memory) if memory else None, threads=threads)


def dimensions(given: list[str] | None) -> dict[str, int]:
    """Read NAME=N options; raises ConfigError."""
    from balance_core.errors import ConfigError

    found = {}
    for option in given or []:
        name, _, number = option.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise ConfigError(f"dimension {option!r} is not of the form NAME=N", hint="for example: --dim batch=1")
        found[name] = int(number)
    return found


def context(text: str | None) -> bytes | None:
    """Read a context of 64 hex digits; raises ConfigError."""
    from balance_core.errors import ConfigError

    if text is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigError(f"context {text!r} is not 64 hex digits", hint="leave it out for a random one")
    return bytes.fromhex(text)


def plugin_settings(given: list[str] | None, *, trust_pickle: bool = False) -> dict[str, Any]:
    """Sort `-o` options by the plugin that they are for; raises ConfigError for an unknown prefix.

    `trust_pickle` is the converter's setting of that name.
    """
    from balance_core.errors import ConfigError
    from balance_core.settings import read_options

    tables = read_options(given or [])
    unknown = set(tables) - {"backend", "chain", "converter", "storage"}
    if unknown:
        raise ConfigError(
            f"no plugin takes options with the prefix {min(unknown)!r}",
            hint="prefixes are chain., converter. and storage.",
        )
    return {
        "settings": tables.get("backend", {}),
        "chain_settings": tables.get("chain", {}),
        "converter_settings": tables.get("converter", {}) | ({"trust_pickle": True} if trust_pickle else {}),
        "storage_settings": tables.get("storage", {}),
    }


def or_none(name: str) -> str | None:
    """Return a plugin's name, or None for `none`."""
    return None if name == "none" else name
