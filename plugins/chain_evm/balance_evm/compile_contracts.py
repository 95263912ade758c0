"""Compiles the repository's contracts into `artifacts`, or says whether what is committed there is what they give.

python -m balance_evm.compile_contracts          writes the artifacts
python -m balance_evm.compile_contracts --check  exits with 1 if any differs by a byte
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from balance_core.errors import BalanceError, ConfigError
from balance_core.files import write_whole
from balance_evm import artifacts
from balance_evm.compile import OWN_SETTINGS, library_file, standard_json

SOURCES = Path(__file__).resolve().parent.parent / "contracts"
TARGET = Path(artifacts.__file__).parent
CODE_LIMIT = 24_576
"""Largest runtime code of a contract, in bytes (EIP-170)."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";', re.MULTILINE)


def compiled() -> dict[str, bytes]:
    """Compile all contracts and return their committed forms, by file name; raises ConfigError for a large one."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(SOURCES.glob("*.sol"))}
    if not texts:
        raise ConfigError(f"there are no contracts in {str(SOURCES)!r}", hint="run it in a clone of the repository")
    answer = standard_json(texts, OWN_SETTINGS)
    return {f"{name}.json": _written(name, answer, texts) for name in artifacts.CONTRACTS}


def _written(name: str, answer: dict[str, Any], texts: dict[str, str]) -> bytes:
    found = answer["contracts"][f"{name}.sol"][name]
    runtime = found["evm"]["deployedBytecode"]
    size = len(runtime["object"]) // 2
    if size > CODE_LIMIT:
        raise ConfigError(f"{name} has {size} bytes of code, more than the {CODE_LIMIT} that a chain takes")
    places = sorted(
        (place["start"], place["length"])
        for places in runtime.get("immutableReferences", {}).values()
        for place in places
    )
    document = {
        "abi": found["abi"],
        "bytecode": found["evm"]["bytecode"]["object"],
        "compiler": answer["compiler"],
        "contract": name,
        "deployed": runtime["object"],
        "immutables": places,
        "settings": OWN_SETTINGS,
        "sources": _sources(f"{name}.sol", texts),
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _sources(root: str, texts: dict[str, str]) -> dict[str, str]:
    """Return the digest of every file that a contract is made from, found by following its imports."""
    digests: dict[str, str] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        if name in digests:
            continue
        data = texts[name].encode() if name in texts else library_file(name)
        digests[name] = hashlib.sha256(data).hexdigest()
        pending += [_resolved(name, found) for found in _IMPORT.findall(data.decode())]
    return digests


def _resolved(importer: str, name: str) -> str:
    """Return the name of an imported file: relative ones begin with a dot."""
    if not name.startswith("."):
        return name
    parts = importer.split("/")[:-1]
    for part in name.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def main(arguments: list[str]) -> int:
    """Write the artifacts, or compare them; return the exit code."""
    different = []
    for name, data in compiled().items():
        path = TARGET / name
        if path.exists() and path.read_bytes() == data:
            continue
        different.append(name)
        if "--check" not in arguments:
            write_whole(path, data)
    if different:
        verb = "differ from" if "--check" in arguments else "were written anew from"
        sys.stderr.write(f"{', '.join(different)} {verb} the contracts\n")
    return 1 if different and "--check" in arguments else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BalanceError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        sys.exit(error.exit_code)
