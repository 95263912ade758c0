"""Checks proofs in a process that knows nothing: `python -m balance_core.testing.fresh`.

It reads one JSON object from its standard input (which verifier, and attempts as bytes in hex) and writes its
verdicts to its standard output. Where the system allows it, the process has no network.
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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.contracts import Verifier
    from balance_core.records import ModelCommitment, Proof, VerifyingKey

    Attempt = tuple[VerifyingKey, ModelCommitment | None, Proof]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SECONDS = 300


def verdicts(verifier: str | type[Verifier], attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    """Return what a fresh process says of each attempt: {"statements": [...]}, {"refused": why} or {"crash": why}.

    The process starts in an empty folder, which is also its home, with nothing but the bytes of the attempts.
    """
    order = {
        "verifier": verifier if isinstance(verifier, str) else f"{verifier.__module__}:{verifier.__qualname__}",
        "path": sys.path,
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
    with tempfile.TemporaryDirectory() as empty:
        environment = {"HOME": empty, "BALANCE_HOME": f"{empty}/data", "TMPDIR": empty, "ORT_DISABLE_TELEMETRY": "1"}
        environment |= {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "balance_core.testing.fresh"],
            input=json.dumps(order).encode(),
            capture_output=True,
            cwd=empty,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    if done.returncode:
        return [{"crash": f"exit status {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"}]
    answer: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _leave_network() -> None:
    """Give the network up, in a namespace of our own where the system lets us make one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _verifier(named: str) -> Verifier:
    from balance_core import registry

    module, separator, name = named.partition(":")
    found: Any = registry.load("verifiers", named)() if not separator else None
    if found is None:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        found = found()
    verifier: Verifier = found
    return verifier


def _judge(verifier: Verifier, attempt: dict[str, Any]) -> dict[str, Any]:
    from balance_core.errors import BalanceError
    from balance_core.records import ModelCommitment, Proof, VerifyingKey

    key = VerifyingKey(attempt["backend"], {name: bytes.fromhex(part) for name, part in attempt["parts"].items()})
    commitment = ModelCommitment.from_json(attempt["commitment"].encode()) if attempt["commitment"] else None
    try:
        stated = verifier.verify(key, commitment, Proof(attempt["backend"], bytes.fromhex(attempt["proof"])))
        return {"statements": [statement.to_json().decode() for statement in stated]}
    except BalanceError as error:
        return {"refused": f"{type(error).__name__}: {error.message}"}
    except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception (a Rust panic does)
        return {"crash": f"{type(error).__name__}: {error}"}


def _main() -> None:
    _leave_network()
    order = json.loads(sys.stdin.buffer.read())
    sys.path[:] = dict.fromkeys([*sys.path, *order["path"]])
    verifier = _verifier(order["verifier"])
    answer = json.dumps([_judge(verifier, attempt) for attempt in order["attempts"]])
    os.write(1, f"\n{answer}\n".encode())


if __name__ == "__main__":
    _main()
