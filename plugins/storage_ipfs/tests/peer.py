"""The Go program beside these tests: built once, kept outside the clone, run as long as a test needs it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest

from balance_core.files import locked

SOURCE = Path(__file__).parent / "gateway"


@functools.cache
def program() -> Path:
    """Return the built program; skips, for the plugin ipfs, where it cannot be built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("ipfs: Go is not installed, and builds the gateway that these tests run against")
    digest = hashlib.sha256(subprocess.run([go, "version"], check=True, capture_output=True).stdout)
    for path in sorted([*SOURCE.glob("*.go"), *SOURCE.glob("go.*")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    folder = platformdirs.user_cache_path("balance") / "ipfs-gateway"
    target = folder / digest.hexdigest()[:32]
    with locked(folder / ".lock"):
        if not target.exists():
            partial = target.with_suffix(".partial")
            command = [go, "build", "-mod=readonly", "-trimpath", "-o", str(partial), "."]
            built = subprocess.run(
                command,
                cwd=SOURCE,
                env={**os.environ, "CGO_ENABLED": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode:
                pytest.skip(f"ipfs: the gateway that these tests run against cannot be built: {built.stderr[-500:]}")
            partial.replace(target)
    return target


@dataclass(frozen=True)
class Peer:
    """A running program."""

    rpc: str
    gateway: str
    process: subprocess.Popen


@contextlib.contextmanager
def serving(place: Path):
    """Run the program on a folder; it ends with its standard input, so also when the tests are killed."""
    process = subprocess.Popen(
        [str(program()), "serve", str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        addresses = json.loads(process.stdout.readline())
        yield Peer(addresses["rpc"], addresses["gateway"], process)
    finally:
        process.kill()
        process.communicate()
