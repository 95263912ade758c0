"""Ctrl-C and a polite request to end: each ends the command with the exit code of an interrupt."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_seen = False


class Interrupted(KeyboardInterrupt):
    """An interrupt that can be caught for good.

    Once a KeyboardInterrupt itself has passed through an `exec` of source code (dataclasses and named tuples are made
    so), CPython ends the process by the signal, whatever exit code is asked for afterwards.
    """


def install() -> None:
    """Have SIGINT, unless it is ignored, and SIGTERM raise Interrupted in the main thread."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _seen  # noqa: PLW0603 - a signal is the whole process's
    _seen = True
    raise Interrupted


def raise_if_lost() -> None:
    """Raise an interrupt again that struck in a callback of the interpreter's, which loses exceptions."""
    if _seen:
        raise Interrupted
