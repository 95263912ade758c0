"""`balance evm dev`: what it prints can be typed, and what was on the chain is there the next time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from balance_evm.anvil import PINNED, free_port

from balance_core.cli import invoke


@contextlib.contextmanager
def running(port):
    """Run the command until its last line, and end it as Ctrl-C would."""
    command = [sys.executable, "-m", "balance_core.cli", "evm", "dev", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.startswith("Ctrl-C"):
                    break
            assert process.poll() is None, process.stderr.read()
            yield lines
        finally:
            guard.cancel()
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()  # leaving the block waits for its end, however long
                raise
    assert process.returncode == 130


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    monkeypatch.delenv("BALANCE_EVM_KEY", raising=False)
    return tmp_path


@pytest.mark.usefixtures("home")
def test_what_it_prints_works_and_stays(monkeypatch, capsys):
    port = free_port()
    with running(port) as lines:
        registry = re.search(r"registry (0x[0-9a-f]{40})", lines[0])[1]
        (export,) = (line for line in lines if "export BALANCE_EVM_KEY" in line)
        key = Path(re.search(r"\$\(cat (\S+)\)", export)[1])
        assert key.read_text() not in "\n".join(lines)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        monkeypatch.setenv("BALANCE_EVM_KEY", key.read_text())
        assert invoke(["evm", "doctor", "-o", f"rpc_url=http://127.0.0.1:{port}"]) == 0
        told = capsys.readouterr().out
        assert registry in told
        assert "error" not in told
    with running(port) as lines:
        assert registry in lines[0]
    assert invoke(["evm", "doctor", "-o", f"rpc_url=http://127.0.0.1:{port}"]) == 7
    assert "does not answer" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_a_port_that_is_taken_is_said():
    port = free_port()
    with running(port):
        command = [sys.executable, "-m", "balance_core.cli", "evm", "dev", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == 5
    assert f"something else listens on port {port}" in done.stderr


def test_every_pinned_archive_has_a_whole_digest():
    for package, digest in PINNED.values():
        assert package.startswith("@foundry-rs/anvil-")
        assert len(digest) == 88
