"""The program that asks ezkl for a contract and a circuit's words, in a process that can be given up on.

ezkl writes the contract's source and then asks the network for a compiler, which it needs only for an interface that
nobody here reads. So every way out is closed beforehand: a proxy that refuses, and an empty home.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from balance_core.errors import StageTimeout, ToolFailed
from balance_ezkl.tool import ezkl

KEY, SETTINGS, SRS = "vk.key", "settings.json", "kzg.srs"
SOURCE, DEDICATED, WORDS = "verifier.sol", "dedicated.sol", "vka.bytes"
_NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there, so that a call is refused at once instead of being waited for."""
_SECONDS = 120.0


def run(folder: Path) -> None:
    """Write `SOURCE`, `DEDICATED` and `WORDS` from the key's files in a folder; raises ToolFailed or StageTimeout."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    environment = {**os.environ, **proxies, "NO_PROXY": "", "no_proxy": "", "HOME": str(folder)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "balance_ezkl.evm_tool", str(folder)],
            env=environment,
            cwd=folder,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StageTimeout(f"ezkl did not write the contract within {_SECONDS:g} s") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").split()
        raise ToolFailed(f"ezkl does not export this circuit: {' '.join(words)[-300:]}")


async def _export(folder: Path) -> None:
    key, settings, srs, words = (str(folder / name) for name in (KEY, SETTINGS, SRS, WORDS))
    for source, reusable in ((SOURCE, True), (DEDICATED, False)):
        # What it raises is the missing compiler, or something worse: the caller tells by the reusable one's digest.
        with contextlib.suppress(RuntimeError):
            names = key, settings, str(folder / source), str(folder / "verifier.abi"), srs
            await ezkl().create_evm_verifier(*names, reusable)
    await ezkl().create_evm_vka(key, settings, words, srs)


def _main() -> None:
    """Export, and end at once: ezkl's own threads do not survive the interpreter's orderly end."""
    code = 1
    try:
        asyncio.run(_export(Path(sys.argv[1])))
        code = 0
    except BaseException as error:  # noqa: BLE001 - a panic is none of the usual exceptions
        sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
