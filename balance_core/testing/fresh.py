"""Proves and checks in a process that knows nothing: `python -m balance_core.testing.fresh`.

It reads one JSON object from its standard input (which plugin, and what it is given) and writes its answer to its
standard output. Where the system allows it, the process has no network.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core.records import Proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from balance_core.contracts import Plugin, ProofBackend, Request, Verifier
    from balance_core.records import ModelCommitment, VerifyingKey
    from balance_core.testing.workbench import Registered, Workbench

    Attempt = tuple[VerifyingKey, ModelCommitment | None, Proof]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SECONDS = 300


def verdicts(verifier: str | type[Verifier], attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    """Return what a fresh process says of each attempt: {"statements": [...]}, {"refused": why} or {"crash": why}.

    The process starts in an empty folder, which is also its home, with nothing but the bytes of the attempts.
    """
    order = {
        "verifier": _subject(verifier),
        "attempts": [
            {
                "backend": key.backend,
                "parts": {name: data.hex() for name, data in key.parts.items()},
                "commitment": commitment.to_json().decode() if commitment else None,
                "proof": proof.data.hex(),
            }
            for key, commitment, proof in attempts
        ],
    }
    answer: list[dict[str, Any]] = _run(order, network=False)
    return answer


def proof(
    bench: Workbench, subject: str | type[ProofBackend], settings: Mapping[str, Any], of: Registered, request: Request
) -> Proof:
    """Prove a request in a fresh process, which has records and the bench's content and nothing else."""
    order = {
        "backend": _subject(subject),
        "settings": dict(settings),
        "workspace": str(bench.workspace.root),
        "circuit": of.circuit.to_json().decode(),
        "opening": of.opening.to_json().decode(),
        "inputs": {
            name: {"dtype": str(array.dtype), "shape": array.shape, "data": array.tobytes().hex()}
            for name, array in request.inputs.items()
        },
        "context": request.context.hex(),
    }
    answer = _run(order, network=bench.network)
    return Proof(of.circuit.backend, bytes.fromhex(answer["proof"]))


def _subject(plugin: str | type[Plugin]) -> str:
    return plugin if isinstance(plugin, str) else f"{plugin.__module__}:{plugin.__qualname__}"


def _run(order: Mapping[str, Any], *, network: bool) -> Any:
    """Start a process in an empty folder, which is also its home, and return its answer."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"HOME": empty, "BALANCE_HOME": f"{empty}/data", "TMPDIR": empty, "ORT_DISABLE_TELEMETRY": "1"}
        environment |= {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "balance_core.testing.fresh"],
            input=json.dumps({**order, "path": sys.path, "network": network}).encode(),
            capture_output=True,
            cwd=empty,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    last_words = done.stderr.decode(errors="replace")[-800:]
    assert done.returncode == 0, f"the fresh process ended with exit status {done.returncode}: {last_words}"
    return json.loads(done.stdout.splitlines()[-1])


def _leave_network() -> None:
    """Give the network up, in a namespace of our own where the system lets us make one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _load(kind: str, subject: str) -> type[Any]:
    """Return the class that a name of the registry, or of a module, stands for."""
    from balance_core import registry

    module, separator, path = subject.partition(":")
    if not separator:
        return registry.load(kind, subject)
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    loaded: type[Any] = found
    return loaded


def _judge(verifier: Verifier, attempt: dict[str, Any]) -> dict[str, Any]:
    from balance_core.errors import BalanceError
    from balance_core.records import ModelCommitment, VerifyingKey

    key = VerifyingKey(attempt["backend"], {name: bytes.fromhex(part) for name, part in attempt["parts"].items()})
    commitment = ModelCommitment.from_json(attempt["commitment"].encode()) if attempt["commitment"] else None
    try:
        stated = verifier.verify(key, commitment, Proof(attempt["backend"], bytes.fromhex(attempt["proof"])))
        return {"statements": [statement.to_json().decode() for statement in stated]}
    except BalanceError as error:
        return {"refused": f"{type(error).__name__}: {error.message}"}
    except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception (a Rust panic does)
        return {"crash": f"{type(error).__name__}: {error}"}


def _prove(order: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from balance_core.contracts import Request
    from balance_core.records import Circuit, Opening
    from balance_core.work import LocalJob
    from balance_core.workspace import Workspace

    found = _load("backends", order["backend"])
    backend = found(found.settings_class.parse(order["settings"], owner=order["backend"]))
    inputs = {
        name: np.frombuffer(bytes.fromhex(array["data"]), array["dtype"]).reshape(array["shape"])
        for name, array in order["inputs"].items()
    }
    circuit = Circuit.from_json(order["circuit"].encode())
    opening = Opening.from_json(order["opening"].encode())
    workspace = Workspace(Path(order["workspace"]))
    with workspace.scratch() as scratch:
        job = LocalJob(workspace, scratch, threads=2, memory_bytes=None, report=lambda *_: None)
        made = backend.prove(circuit, opening, [Request(inputs, bytes.fromhex(order["context"]))], job)
    return {"proof": made.data.hex()}


def _main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    if not order["network"]:
        _leave_network()
    sys.path[:] = dict.fromkeys([*sys.path, *order["path"]])
    if "backend" in order:
        answer: Any = _prove(order)
    else:
        verifier = _load("verifiers", order["verifier"])()
        answer = [_judge(verifier, attempt) for attempt in order["attempts"]]
    os.write(1, f"\n{json.dumps(answer)}\n".encode())


if __name__ == "__main__":
    _main()
