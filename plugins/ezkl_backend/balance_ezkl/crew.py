"""Many samples at once: ezkl answers one at a time and holds the interpreter meanwhile, so processes share them."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from balance_core.errors import ConfigError, ToolFailed
from balance_ezkl import answer
from balance_ezkl.answer import Answer
from balance_ezkl.member import NO_CONTEXT
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

WORTH_IT_SECONDS = 0.2
"""Less work than this is done before other processes have started."""
AHEAD = 3
"""How many samples for each process are made ready before they are needed."""


class Crew:
    """So many processes, started when they are first needed; leave the `with` to end them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._members: list[subprocess.Popen[str]] = []
        self._waited_for: list[subprocess.Popen[str]] = []
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
    ) -> Generator[Answer]:
        """Yield the answers to `count` samples in order; raises what `answer.compute` does at the first failure.

        Samples are taken as they are needed, so that there may be any number of them. This process answers until the
        others are ready.
        """
        started = time.monotonic()
        left = iter(samples)
        done = 0
        while not (self._members and self.ready()):
            inputs = next(left, None)
            if inputs is None:
                return
            yield answer.compute(compiled, inputs, NO_CONTEXT, lookup_range=lookup_range)
            done += 1
            spent = time.monotonic() - started
            if self.size > 1 and (count - done) * spent / done > WORTH_IT_SECONDS:
                self.start()
        yield from self._shared(compiled, left, lookup_range)

    def _shared(
        self, compiled: Path, samples: Iterable[Sequence[Sequence[int]]], lookup_range: tuple[int, int] | None
    ) -> Generator[Answer]:
        pending: deque[Future[Answer]] = deque()
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

    def start(self) -> None:
        """Start the processes, unless they were; they are of use once they are `ready`."""
        while len(self._members) < self.size:
            member = subprocess.Popen(
                [sys.executable, "-P", "-m", "balance_ezkl.member"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "RAYON_NUM_THREADS": "1"},
            )
            self._members.append(member)
            self._waited_for.append(member)

    def ready(self, timeout: float = 0.0) -> bool:
        """Say whether all processes have started, after so many seconds at the most for each."""
        for member in list(self._waited_for):
            if member.stdout is not None:
                if not select.select([member.stdout], [], [], timeout)[0]:
                    return False
                member.stdout.readline()  # one that ended instead will be missed when it is asked
            self._waited_for.remove(member)
            self._free.put(member)
        return True

    def _ask(self, task: str) -> Answer:
        member = self._free.get()
        try:
            reply = _exchange(member, task)
        finally:
            self._free.put(member)
        if "failed" in reply:
            raise EzklFailed(f"ezkl's gen_witness failed: {reply['failed']}", reason=reply["failed"])
        if "error" in reply:
            raise ConfigError(reply["error"], hint=reply["hint"])
        return Answer(reply["outputs"], tuple(reply["lookups"]))


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
