"""A local chain: the node anvil, fetched once by npm, checked against a pinned digest, and run without node.js."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from balance_core.errors import ChainUnreachable, ContentMismatch, StageTimeout, ToolFailed, ToolNotFound
from balance_core.files import locked
from balance_evm.rpc import Rpc

if TYPE_CHECKING:
    from types import TracebackType

VERSION = "1.7.1"
PINNED = {
    ("Linux", "x86_64"): (
        "@foundry-rs/anvil-linux-amd64",
        "+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
    ),
}
"""For each platform the npm package and the SHA-512 of its archive."""
PATH_VARIABLE = "BALANCE_ANVIL"
_FETCH_SECONDS, _START_SECONDS, _STOP_SECONDS = 300.0, 20.0, 10.0
_MEMBER = "package/bin/anvil"
_MAX_BINARY_BYTES = 2**28


def binary() -> Path:
    """Return anvil: the one that the environment names, or the pinned one, fetched if it is not there yet."""
    named = os.environ.get(PATH_VARIABLE)
    if named:
        found = Path(named)
        if not os.access(found, os.X_OK):
            raise ToolNotFound(f"{PATH_VARIABLE} names {named!r}, which is no program", hint="give anvil's path")
        return found
    place = platform.system(), platform.machine()
    if place not in PINNED:
        raise ToolNotFound(
            f"no anvil is pinned for {' on '.join(place)}",
            hint=f"install Foundry's anvil {VERSION} yourself and name it: export {PATH_VARIABLE}=/path/to/anvil",
        )
    package, digest = PINNED[place]
    target = _cache() / "anvil"
    if not target.exists():
        with locked(_cache() / ".lock"):
            if not target.exists():
                _fetch(package, digest, target)
    return target


def _cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("balance") / f"anvil-{VERSION}"


def _fetch(package: str, digest: str, target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ToolNotFound(
            "npm is missing, which fetches anvil",
            hint=f"install npm, or Foundry's anvil yourself: export {PATH_VARIABLE}=/path/to/anvil",
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as name:
        folder = Path(name)
        command = [npm, "pack", "--silent", f"{package}@{VERSION}", "--pack-destination", str(folder)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_FETCH_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise StageTimeout(f"npm did not fetch {package} within {_FETCH_SECONDS:g} s") from None
        archives = list(folder.glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            words = " ".join(done.stderr.decode(errors="replace").split())[-200:]
            raise ToolFailed(f"npm does not fetch {package}@{VERSION}: {words}", hint="check the network")
        data = archives[0].read_bytes()
        if base64.b64encode(hashlib.sha512(data).digest()).decode() != digest:
            raise ContentMismatch(
                f"the archive of {package}@{VERSION} is not the pinned one", hint="do not run it; try again later"
            )
        unpacked = folder / "anvil"
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(_MEMBER)
            if member is None:
                raise ContentMismatch(f"the archive of {package}@{VERSION} holds no {_MEMBER}")
            unpacked.write_bytes(member.read(_MAX_BINARY_BYTES))
        unpacked.chmod(0o500)
        unpacked.replace(target)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_taken(port: int) -> bool:
    """Say whether somebody answers there: it would be taken for the node that is being started."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Anvil:
    """A running node, on the loopback only; use it as a context manager."""

    def __init__(
        self,
        *,
        port: int | None = None,
        state: Path | None = None,
        accounts: int = 0,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port() if port is None else port
        self.state = state
        self._arguments = (*arguments, "--accounts", str(accounts))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The node's JSON-RPC address."""
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, *, patience: float = 5.0) -> Rpc:
        """Return a door to it."""
        return Rpc(self.url, timeout=20, patience=patience)

    def start(self) -> Self:
        """Start it and wait until it answers; raises ToolFailed where it ends at once."""
        if _is_taken(self.port):
            raise ToolFailed(f"something else listens on port {self.port}", hint="choose another: --port N")
        # The limit of gas for a transaction is that of main networks: what is too large there is so here.
        command = [str(binary()), "--host", "127.0.0.1", "--port", str(self.port), "--silent"]
        command += ["--enable-tx-gas-limit", *self._arguments]
        if self.state is not None:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            command += ["--state", str(self.state), "--state-interval", "1"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0
        )
        rpc, deadline = self.rpc(patience=0), time.monotonic() + _START_SECONDS
        while True:
            if self._process.poll() is not None:
                words = self._process.stderr.read().decode(errors="replace") if self._process.stderr else ""
                self.stop()
                raise ToolFailed(
                    f"anvil ends at once: {' '.join(words.split())[-200:]}",
                    hint=f"is something else on port {self.port}?",
                )
            try:
                rpc.call("web3_clientVersion")
            except ChainUnreachable:
                if time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.02)
            else:
                return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait; its state is written before it ends, unless it is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def wait(self) -> None:
        """Wait until it ends."""
        if self._process is not None:
            self._process.wait()

    def fund(self, address: str, ether: int = 1000) -> None:
        """Give an account money."""
        self.rpc().call("anvil_setBalance", address, hex(ether * 10**18))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
