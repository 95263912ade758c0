"""Many samples at once: ezkl answers one at a time and holds the interpreter while it does, so processes share them.

A member of the crew is `python -m balance_ezkl.crew`: a line of JSON in, a line of JSON out. It ends when its input
does, so it does not outlive whoever started it.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from balance_core.errors import ConfigError, ToolFailed
from balance_ezkl import witness
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

WORTH_IT_SECONDS = 1.0
"""Less work than this is done before other processes have started."""
AHEAD = 3
"""How many samples for each process are made ready before they are needed."""
NO_CONTEXT = bytes(witness.CONTEXT_BYTES)


class Crew:
    """So many processes, started when they are first needed; leave the `with` to end them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._members: list[subprocess.Popen[str]] = []
        self._free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.kill()
        for member in self._members:
            member.communicate()

    def answers(
        self,
        compiled: Path,
        samples: Iterable[Sequence[Sequence[int]]],
        count: int,
        *,
        lookup_range: tuple[int, int] | None = None,
    ) -> Generator[witness.Answer]:
        """Yield the answers to `count` samples in order; raises what `witness.compute` does at the first failure.

        Samples are taken as they are needed, so that there may be any number of them.
        """
        started = time.monotonic()
        left = iter(samples)
        for done, inputs in enumerate(left, start=1):
            yield witness.compute(compiled, inputs, NO_CONTEXT, lookup_range=lookup_range)
            spent = time.monotonic() - started
            if self.size > 1 and (count - done) * spent / done > WORTH_IT_SECONDS:
                yield from self._shared(compiled, left, lookup_range)
                return

    def _shared(
        self, compiled: Path, samples: Iterable[Sequence[Sequence[int]]], lookup_range: tuple[int, int] | None
    ) -> Generator[witness.Answer]:
        self._start()
        pending: deque[Future[witness.Answer]] = deque()
        with ThreadPoolExecutor(self.size) as threads:
            try:
                for inputs in samples:
                    task = json.dumps([str(compiled.absolute()), inputs, lookup_range])
                    pending.append(threads.submit(self._ask, task))
                    if len(pending) > AHEAD * self.size:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _start(self) -> None:
        while len(self._members) < self.size:
            member = subprocess.Popen(
                [sys.executable, "-P", "-m", "balance_ezkl.crew"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "RAYON_NUM_THREADS": "1"},
            )
            self._members.append(member)
            self._free.put(member)

    def _ask(self, task: str) -> witness.Answer:
        member = self._free.get()
        try:
            reply = _exchange(member, task)
        finally:
            self._free.put(member)
        if "failed" in reply:
            raise EzklFailed(f"ezkl's gen_witness failed: {reply['failed']}", reason=reply["failed"])
        if "error" in reply:
            raise ConfigError(reply["error"], hint=reply["hint"])
        return witness.Answer(reply["outputs"], tuple(reply["lookups"]))


def _exchange(member: subprocess.Popen[str], task: str) -> dict[str, Any]:
    if member.stdin is None or member.stdout is None:
        raise ToolFailed("a process that answers samples has no pipes")
    try:
        member.stdin.write(task + "\n")
        member.stdin.flush()
        line = member.stdout.readline()
    except OSError:
        line = ""
    if not line:
        raise ToolFailed(f"a process that answers samples ended with status {member.wait()}")
    reply: dict[str, Any] = json.loads(line)
    return reply


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer until the requests end."""
    for line in requests:
        compiled, inputs, lookup_range = json.loads(line)
        reply: dict[str, Any]
        try:
            answer = witness.compute(
                Path(compiled), inputs, NO_CONTEXT, lookup_range=lookup_range and tuple(lookup_range)
            )
            reply = {"outputs": answer.outputs, "lookups": answer.lookups}
        except EzklFailed as error:
            reply = {"failed": error.reason}
        except ConfigError as error:
            reply = {"error": error.message, "hint": error.hint}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    # What native code prints must not come between the replies.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, own)
