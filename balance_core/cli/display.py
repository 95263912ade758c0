"""What a person sees of a run: one live line on a terminal, plain lines in a pipe, and nothing for a program."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import typer

from balance_core.cli.interrupts import raise_if_lost
from balance_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from balance_core.runs import StageReport, StageStart
    from balance_core.stages import Progress

_CLEAR_LINE = "\r\x1b[2K"
_TITLES = {
    "convert": "reading the model",
    "check": "checking what can be proven",
    "setup": "making the circuit and its keys",
    "commit": "committing to the weights",
    "execute": "answering in integers",
    "prove": "proving",
    "verify": "verifying in a fresh process",
}


class Display:
    """Shows stages on standard error; hand it over as observer, and its `watch` for progress."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._lock = threading.Lock()

    def watch(self, progress: Progress) -> None:
        """Redraw the live line."""
        if not self._live:
            return
        part = f" {progress.fraction:.0%}" if progress.fraction is not None else ""
        title = progress.message or _TITLES.get(progress.stage, progress.stage)
        line = (
            f"  {progress.stage:<8} {progress.elapsed_seconds:7.1f} s {memory(progress.memory_bytes)}  {title}{part}"
        )
        with self._lock:
            sys.stderr.write(_CLEAR_LINE + line[:100])
            sys.stderr.flush()

    @hookimpl
    def stage_started(self, stage: StageStart) -> None:
        """Name the stage that begins; raises Interrupted where none should begin any more."""
        raise_if_lost()
        if self._live:
            with self._lock:
                sys.stderr.write(f"{_CLEAR_LINE}  {stage.stage:<8} {_TITLES.get(stage.stage, '')}")
                sys.stderr.flush()

    @hookimpl
    def stage_finished(self, stage: StageReport) -> None:
        """Leave one line for the stage that ended."""
        if self._quiet:
            return
        cost = stage.measurement
        how = "from the cache; it took" if stage.cached else ""
        line = f"  {stage.stage:<8} {how}{cost.wall_seconds:7.1f} s {memory(cost.peak_memory_bytes)}"
        with self._lock:
            sys.stderr.write((_CLEAR_LINE if self._live else "") + line + "\n")
            sys.stderr.flush()

    @hookimpl
    def run_failed(self) -> None:
        """Clear the live line, so that the error stands alone."""
        self.close()

    def close(self) -> None:
        """Clear the live line."""
        if self._live:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()


def memory(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / 2**30:6.2f} GiB" if size >= 2**30 else f"{size / 2**20:6.0f} MiB"


def field(name: str, value: object) -> None:
    """Print one named value of a result."""
    typer.echo(f"{name:<14} {value}")
