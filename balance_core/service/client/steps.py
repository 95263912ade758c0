"""What a client does, as steps that are written once: a driver that blocks and one that awaits carry them out.

A procedure is a generator that yields `Call`, `Work`, `Pause` or `Together`, is sent what came of it, and returns its
result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from balance_core.errors import ProviderUnreachable

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

MAX_REPLY_BYTES = 2**26
"""Largest answer that is read unless a call says otherwise."""


@dataclass(frozen=True)
class Call:
    """A request to the provider, and how much of an answer is read in how long."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_REPLY_BYTES
    seconds: float = 30.0


@dataclass(frozen=True)
class Reply:
    """What the provider answered; not believed yet."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Work:
    """Something to be done on this machine that may take a while."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Pause:
    """A wait."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Procedures of which several may go on at the same time; their results come in order."""

    procedures: tuple[Generator[Step, Any, Any], ...]
    at_most: int = 8


Step = Call | Work | Pause | Together
Steps = Generator[Step, Any, T]


class _Reading:
    """An answer as it comes in, as long as it keeps to what was allowed."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._end = time.monotonic() + call.seconds
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._call.max_bytes:
            raise ProviderUnreachable(
                f"the provider's answer to {self._call.path} has more than {self._call.max_bytes} bytes"
            )
        if time.monotonic() > self._end:
            raise ProviderUnreachable(f"the provider took more than {self._call.seconds:g} s over {self._call.path}")
        self._pieces.append(piece)

    def reply(self, response: httpx.Response) -> Reply:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ProviderUnreachable("the provider's answer is compressed, which was not asked for")
        return Reply(response.status_code, dict(response.headers), b"".join(self._pieces))


def _asked(call: Call) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "content": call.body or None,
        "headers": {"Accept-Encoding": "identity", **call.headers},
        "timeout": call.seconds,
    }


def _unreachable(call: Call, error: Exception) -> ProviderUnreachable:
    reason = str(error) or type(error).__name__
    return ProviderUnreachable(f"the provider did not answer {call.path}: {reason}")


def carry_out(steps: Steps[T], http: httpx.Client) -> T:
    """Carry a procedure out, in this thread."""
    step, outcome = next_step(steps)
    while step is not None:
        try:
            value = _do(step, http)
        except Exception as error:  # noqa: BLE001 - the procedure decides what an error means to it
            step, outcome = next_step(steps, error=error)
        else:
            step, outcome = next_step(steps, value)
    result: T = outcome
    return result


def next_step(steps: Steps[Any], value: Any = None, *, error: Exception | None = None) -> tuple[Step | None, Any]:
    """Go on with a procedure; return its next step, or None and its result."""
    try:
        return (steps.throw(error) if error is not None else steps.send(value)), None
    except StopIteration as end:
        return None, end.value


def _do(step: Step, http: httpx.Client) -> Any:
    if isinstance(step, Call):
        return _call(step, http)
    if isinstance(step, Work):
        return step.function()
    if isinstance(step, Pause):
        return time.sleep(step.seconds)
    with ThreadPoolExecutor(step.at_most) as pool:
        running = [pool.submit(carry_out, one, http) for one in step.procedures]
        try:
            return [one.result() for one in running]
        finally:
            for one in running:
                one.cancel()


def _call(call: Call, http: httpx.Client) -> Reply:
    import httpx

    reading = _Reading(call)
    try:
        with http.stream(**_asked(call)) as response:
            for piece in response.iter_raw():
                reading.add(piece)
            return reading.reply(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(call, error) from error


async def carry_out_async(steps: Steps[T], http: httpx.AsyncClient) -> T:
    """Carry a procedure out without blocking the event loop."""
    step, outcome = next_step(steps)
    while step is not None:
        try:
            value = await _do_async(step, http)
        except Exception as error:  # noqa: BLE001 - the procedure decides what an error means to it
            step, outcome = next_step(steps, error=error)
        else:
            step, outcome = next_step(steps, value)
    result: T = outcome
    return result


async def _do_async(step: Step, http: httpx.AsyncClient) -> Any:
    import asyncio

    if isinstance(step, Call):
        return await _call_async(step, http)
    if isinstance(step, Work):
        return await asyncio.to_thread(step.function)
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    room = asyncio.Semaphore(step.at_most)

    async def one(steps: Steps[Any]) -> Any:
        async with room:
            return await carry_out_async(steps, http)

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one(steps)) for steps in step.procedures]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in running]


async def _call_async(call: Call, http: httpx.AsyncClient) -> Reply:
    import httpx

    reading = _Reading(call)
    try:
        async with http.stream(**_asked(call)) as response:
            async for piece in response.aiter_raw():
                reading.add(piece)
            return reading.reply(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(call, error) from error
