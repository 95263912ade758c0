"""The Solidity compiler: fetched once by npm as a lock file pins it, run by node, with fixed settings.

It is needed by whoever changes the contracts, and on the machine that first deploys a backend's own verifier, which
comes as source. Everybody else uses the compiled contracts in `balance_evm.artifacts`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from balance_core.errors import StageTimeout, ToolFailed, ToolNotFound
from balance_core.files import locked

COMPILER = Path(__file__).parent / "compiler"
"""Which compiler, and how it is called."""
_LOCK = ("package.json", "package-lock.json")
_FETCH_SECONDS, _COMPILE_SECONDS = 300.0, 180.0

EVM_VERSION = "cancun"
"""The oldest version of the EVM that the code runs on: all public networks have it since 2024."""
OWN_SETTINGS: dict[str, Any] = {
    "evmVersion": EVM_VERSION,
    "metadata": {"bytecodeHash": "none"},
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": True,
}
"""How the plugin's own contracts are compiled."""
FOREIGN_SETTINGS: dict[str, Any] = {**OWN_SETTINGS, "viaIR": False}
"""How a backend's contract is compiled: generated assembly expects the optimiser, and not the intermediate form."""


class Code(NamedTuple):
    """A contract from a foreign source."""

    creation: bytes
    runtime: bytes
    """What stands on the chain then, byte for byte."""


def compile_source(name: str, source: str) -> Code:
    """Return the code of a contract from a source that imports nothing and whose constructor fills in nothing.

    The same text gives the same code on every machine. Raises ToolNotFound without node or npm, ToolFailed where the
    compiler refuses the source, StageTimeout.
    """
    file = f"{name}.sol"
    answer = standard_json({file: source}, FOREIGN_SETTINGS)
    found = answer.get("contracts", {}).get(file, {}).get(name)
    if not found or not found["evm"]["bytecode"]["object"]:
        raise ToolFailed(f"the source holds no contract {name} that can be deployed")
    creation, runtime = found["evm"]["bytecode"], found["evm"]["deployedBytecode"]
    if runtime.get("immutableReferences"):
        raise ToolFailed(f"the constructor of {name} fills in its code, so that nobody could compare it")
    try:
        return Code(bytes.fromhex(creation["object"]), bytes.fromhex(runtime["object"]))
    except ValueError:
        raise ToolFailed(f"the contract {name} needs libraries that are not in its source") from None


def standard_json(sources: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """Compile files, by name, and return the compiler's answer, with its version under `compiler`."""
    wanted = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]
    question = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sorted(sources.items())},
        "settings": {**settings, "outputSelection": {"*": {"*": wanted}}},
    }
    command = [_program("node"), str(COMPILER / "compile.cjs"), str(_installed())]
    done = _run(command, _COMPILE_SECONDS, COMPILER, json.dumps(question))
    answer: dict[str, Any] = json.loads(done)
    errors = [found for found in answer.get("errors", ()) if found["severity"] == "error"]
    if errors:
        raise ToolFailed(f"the Solidity compiler says: {' '.join(errors[0]['formattedMessage'].split())[:400]}")
    return answer


def library_file(name: str) -> bytes:
    """Return a file of the pinned library, by the name that an import gives it."""
    return (_installed() / "node_modules" / name).read_bytes()


@cache
def _installed() -> Path:
    """Return the folder with the pinned packages, fetched if it is not there; it appears whole or not at all."""
    import platformdirs

    name = hashlib.sha256(b"".join((COMPILER / part).read_bytes() for part in _LOCK)).hexdigest()[:16]
    target = platformdirs.user_cache_path("balance") / f"solidity-{name}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / f".{target.name}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=".solidity-", dir=target.parent) as folder:
                draft = Path(folder) / "packages"
                draft.mkdir()
                for part in _LOCK:
                    shutil.copyfile(COMPILER / part, draft / part)
                _run([_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], _FETCH_SECONDS, draft)
                draft.replace(target)
    return target


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolNotFound(
            f"{name} is missing, which the Solidity compiler runs on", hint="install Node.js 18 or newer"
        )
    return found


def _run(command: list[str], seconds: float, folder: Path, text: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            cwd=folder,
            env={**os.environ, "NO_UPDATE_NOTIFIER": "1"},
            text=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StageTimeout(f"{Path(command[0]).name} did not finish within {seconds:g} s") from None
    if done.returncode:
        words = " ".join(done.stderr.split())[-300:]
        raise ToolFailed(f"{Path(command[0]).name} {command[1]} failed: {words}", hint="check the network and node")
    return done.stdout
