"""`balance serve` and `balance api-keys`: from a file to answers, and no further than was allowed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from balance_core.cli import invoke
from balance_core.testing import models
from tests.service.live import X


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.onnx").write_bytes(models.mlp(seed=1).SerializeToString())
    return tmp_path


def test_it_registers_listens_answers_and_ends_when_told(home):
    command = [sys.executable, "-m", "balance_core.cli", "serve", str(home / "tiny.onnx")]
    command += ["--backend", "integer", "--port", "0", "--name", "tiny", "--provers", "0", "--json"]
    command += ["-o", "limit.body_bytes=2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            about = json.loads(process.stdout.readline())
            assert about["model"] == "tiny"
            tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": X.ravel().tolist()}
            with httpx.Client(base_url=about["url"], timeout=30) as client:
                answer = client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
                assert answer.status_code == 200
                assert answer.json()["parameters"]["balance_registration"] == about["registration"]
                assert client.post("/v2/models/tiny/infer", content=b" " * 3000).status_code == 413
        finally:
            process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=60)[1]
    assert process.returncode in {0, 130, -signal.SIGTERM}
    assert "Traceback" not in log
    assert '"event": "request"' in log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "no API keys"),  # noqa: S104 - it is refused
        (["--tls-cert", "x.pem"], "certificate and its key"),
        (["-o", "limit.bodybytes=1"], "bodybytes"),
        (["-o", "limit.body_bytes=few"], "body_bytes"),
        (["-o", "nobody.x=1"], "prefix 'nobody'"),
        (["--proof", "maybe"], "proof"),
        (["--host", "no.such.host.invalid", "--open"], "cannot be listened on"),
        (["--backend", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(home, capsys, arguments, words):
    model = str(home / "tiny.onnx")
    code = invoke(["serve", model, "--backend", "integer", "--port", "0", *arguments])
    shown = capsys.readouterr().err
    assert code in {2, 3}
    assert words in shown
    assert [line.partition(":")[0] for line in shown.splitlines()] == ["error", "hint"]


def test_a_port_that_is_taken_is_noticed_before_any_work(home, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        began = time.monotonic()
        code = invoke(
            ["serve", str(home / "tiny.onnx"), "--backend", "integer", "--port", str(taken.getsockname()[1])]
        )
    assert code == 2
    assert "cannot be listened on" in capsys.readouterr().err
    assert not (home / "home" / "registered").exists()
    assert time.monotonic() - began < 30


def test_keys_are_made_shown_and_revoked(home, capsys):
    assert invoke(["api-keys", "list"]) == 0
    assert "no API key yet" in capsys.readouterr().out
    assert invoke(["api-keys", "new", "alice", "--scope", "infer", "--days", "90"]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("balance_")
    key_id = key.split("_")[1]
    invoke(["api-keys", "list"])
    listed = capsys.readouterr().out
    assert key_id in listed
    assert key.rpartition("_")[2] not in listed
    assert invoke(["api-keys", "revoke", key_id]) == 0
    invoke(["api-keys", "list"])
    assert "revoked" in capsys.readouterr().out
    assert invoke(["api-keys", "new", "bob", "--scope", "everything"]) == 2
    assert os.stat(home / "home" / "service").st_mode & 0o077 == 0  # noqa: PTH116 - the mode alone is asked for
