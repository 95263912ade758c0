"""The one door to ezkl: its exceptions and panics become typed errors, and its environment is pinned."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolFailed, ToolNotFound

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

EZKL_VERSION = "23.0.5"
"""The one release that this plugin speaks; another one makes other circuits and reads other keys."""

_PANIC = "PanicException"
"""Name of the class that a Rust panic arrives as: a BaseException, which no module exports."""
_LONGEST = 300
"""How much of a message is repeated, in characters."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class EzklFailed(ToolFailed):
    """A call of ezkl failed; `reason` is its own message in one line, without the name of the call."""

    def __init__(self, message: str, *, reason: str = "", panicked: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.panicked = panicked


def use_threads(count: int) -> None:
    """Let ezkl compute on so many threads; without effect once this process has called it."""
    os.environ["RAYON_NUM_THREADS"] = str(count)


def ezkl() -> ModuleType:
    """Import ezkl of the one version; raises ToolNotFound that says what to type."""
    # ezkl reads these once, when it first needs them. Another key format would switch off the check of its points.
    # Lookup tables are cached in a folder by name alone, unlocked, half-written by whoever is killed, and taken for
    # right by whoever comes next: so the folder is the current one, and `call` makes that a job's own.
    os.environ |= {"EZKL_KEY_FORMAT": "raw-bytes", "EZKL_REPO_PATH": "."}
    hint = f"pip install ezkl=={EZKL_VERSION}"
    try:
        import ezkl as module
    except ImportError as error:
        raise ToolNotFound("the Python package ezkl is not installed", hint=hint) from error
    return module


def call(function: str, *arguments: Any, folder: Path | None = None, **options: Any) -> Any:
    """Call ezkl and return what it returns; raises EzklFailed for whatever it raises, a panic among it.

    What writes files that nobody asked for (`setup` and `prove` do) must be given a folder for them, and paths that
    do not depend on the current one.
    """
    target = getattr(ezkl(), function)
    try:
        with contextlib.nullcontext() if folder is None else contextlib.chdir(folder):
            result = target(*arguments, **options)
    except BaseException as error:
        panicked = type(error).__name__ == _PANIC
        if not panicked and not isinstance(error, Exception):
            raise
        reason = _one_line(error)
        what = "panicked" if panicked else "failed"
        raise EzklFailed(f"ezkl's {function} {what}: {reason}", reason=reason, panicked=panicked) from None
    if result is False:
        raise EzklFailed(f"ezkl's {function} answered no", reason="it answered no")
    return result


def _one_line(error: BaseException) -> str:
    text = " ".join(_ESCAPES.sub("", str(error)).split())
    text = re.sub(r"^Failed to [^:]{1,40}: ", "", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
