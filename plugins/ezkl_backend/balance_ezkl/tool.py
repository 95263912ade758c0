"""The one door to ezkl: its exceptions and panics become typed errors, and its environment is pinned."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolFailed, ToolNotFound

if TYPE_CHECKING:
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
    # Keys are read with every point checked: another value of this variable would switch that off.
    os.environ["EZKL_KEY_FORMAT"] = "raw-bytes"
    hint = f"pip install ezkl=={EZKL_VERSION}"
    try:
        import ezkl as module
    except ImportError as error:
        raise ToolNotFound("the Python package ezkl is not installed", hint=hint) from error
    return module


def call(function: str, *arguments: Any, **options: Any) -> Any:
    """Call ezkl and return what it returns; raises EzklFailed for whatever it raises, a panic among it."""
    target = getattr(ezkl(), function)
    try:
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
