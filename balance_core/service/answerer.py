"""A process that holds a circuit and answers one request after another: `python -m balance_core.service.answerer`.

A proof system's native code can crash and print; here it takes neither the server nor its other requests with it.
Parent and child exchange frames over a socket pair: JSON, and behind it the arrays' bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from balance_core.contracts import ProofBackend
    from balance_core.records import Tensor
    from balance_core.runs import Preparation

_HEAD = Struct(">IQ")
"""The lengths of a frame's JSON and of the bytes behind it."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
_PARENT_SECONDS = 1.0


def send(link: socket.socket, value: Any, *parts: bytes) -> None:
    """Send one frame."""
    text = json.dumps(value).encode()
    link.sendall(b"".join([_HEAD.pack(len(text), sum(map(len, parts))), text, *parts]))


def receive(link: socket.socket) -> tuple[Any, memoryview] | None:
    """Receive one frame; None where the other side has ended."""
    head = _exactly(link, _HEAD.size)
    if head is None:
        return None
    lengths = _HEAD.unpack(head)
    text, binary = _exactly(link, lengths[0]), _exactly(link, lengths[1])
    if text is None or binary is None:
        return None
    return json.loads(bytes(text)), binary


def _exactly(link: socket.socket, size: int) -> memoryview | None:
    buffer = bytearray(size)
    view, at = memoryview(buffer), 0
    while at < size:
        count = link.recv_into(view[at:])
        if count == 0:
            return None
        at += count
    return view


def main(arguments: list[str]) -> None:
    """Take the order, load what it names, and answer until the parent closes the link or ends."""
    link = socket.socket(fileno=int(arguments[0]))
    first = receive(link)
    if first is None:
        return
    order = first[0]
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    handle = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(order["threads"])))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        loaded = _guarded(lambda: Holder(order, Path(scratch)))
        send(link, {key: value for key, value in loaded.items() if key != "value"})
        while "value" in loaded and (frame := receive(link)) is not None:
            reply = _guarded(_asked(loaded["value"], frame))
            send(link, reply.get("value", reply))


def _asked(holder: Holder, frame: tuple[Any, memoryview]) -> Callable[[], Any]:
    """Return what answers one frame, in the form that it travels in."""

    def answer() -> Any:
        outputs, digest = holder.answer(_arrays(*frame))
        return {"outputs": [dict(tensor) for tensor in outputs], "input_digest": digest}

    return answer


def _end_with(parent: int) -> None:
    """End when the parent has, even in the middle of an answer."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)


def _guarded(work: Callable[[], Any]) -> dict[str, Any]:
    """Return a value or the error that came instead."""
    from balance_core.errors import BalanceError

    try:
        return {"value": work()}
    except BalanceError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception (a Rust panic does)
        traceback.print_exc()
        return {"error": "ToolFailed", "message": f"the backend failed: {type(error).__name__}", "hint": None}


def _arrays(heads: list[tuple[str, str, list[int]]], binary: memoryview) -> dict[str, np.ndarray]:
    """Return the arrays of a request, with the axis of samples in front."""
    import numpy as np

    found, at = {}, 0
    for name, dtype, shape in heads:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(binary, dtype=dtype, count=count, offset=at).reshape(1, *shape)
        found[name] = array
        at += array.nbytes
    return found


class Holder:
    """A backend with its circuit, ready to answer. `order` names workspace, preparation and threads."""

    def __init__(self, order: dict[str, Any], scratch: Path) -> None:
        from balance_core import registry
        from balance_core.records import Circuit, Opening
        from balance_core.runs import Preparation
        from balance_core.work import LocalJob
        from balance_core.workspace import Workspace

        workspace = Workspace(Path(order["workspace"]))
        preparation = Preparation.from_value(order["preparation"])
        registry.load("backends", preparation.backend).warm_up("execute")
        self._backend: ProofBackend = registry.create("backends", preparation.backend, preparation.settings)
        self._circuit = Circuit.from_json(workspace.blob(preparation.circuit).read_bytes())
        self._opening = Opening()
        if preparation.opening is not None:
            self._opening = Opening.from_json(workspace.blob(preparation.opening).read_bytes())
        self._job = LocalJob(workspace, scratch, threads=order["threads"], memory_bytes=None, report=_no_progress)
        with contextlib.suppress(Exception):  # a first answer reads what later ones have at hand
            self.answer(zeros(preparation))

    def answer(self, inputs: Mapping[str, np.ndarray]) -> tuple[tuple[Tensor, ...], str | None]:
        """Return the outputs as a proof would state them, and the inputs' digest, if it is known before the proof.

        The arrays have the axis of samples in front, for one sample.
        """
        from balance_core import canonical
        from balance_core.contracts import StatesInputs

        (outputs,) = self._backend.execute(self._circuit, self._opening, inputs, self._job)
        digest = None
        if isinstance(self._backend, StatesInputs) and not self._backend.promises.private_input:
            (stated,) = self._backend.stated(self._circuit, self._opening, inputs, self._job)
            digest = canonical.digest("inputs/1", *(tensor.to_json() for tensor in stated))
        return outputs, digest


def zeros(preparation: Preparation) -> dict[str, np.ndarray]:
    """Return an input of nothing but zeros."""
    import numpy as np

    return {spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in preparation.model.inputs}


def _no_progress(message: str, fraction: float | None) -> None:
    """Nobody waits long enough for an answer to be told how it stands."""
    del message, fraction


if __name__ == "__main__":
    main(sys.argv[1:])
