"""A validator that is killed (-9) at random moments says of each proof one thing, once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from .validating import Yard

_RUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.service.validating import Yard
print("begun", flush=True)
Yard(Path(os.environ["BALANCE_HOME"]), key=object()).run("validator")
"""
KILLS = 6


def start():
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen([sys.executable, "-c", _RUN, root], stdout=subprocess.PIPE, start_new_session=True)


@pytest.mark.slow
def test_each_proof_is_attested_exactly_once_however_often_the_validator_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    yard = Yard(tmp_path)
    registration = yard.register()
    expected = {}
    for number in range(12):
        lie = number % 3 == 0
        expected[yard.publish(registration, lie=lie).proof_id] = not lie
    chance = random.Random(9)
    for _ in range(KILLS):
        process = start()
        process.stdout.readline()
        time.sleep(chance.uniform(0.05, 2.5))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    before = len(yard.words())
    process = start()
    process.stdout.read()
    assert process.wait() == 0
    process.stdout.close()
    words = Counter((proof, valid) for proof, _, valid in yard.words())
    assert words == Counter(dict.fromkeys(expected.items(), 1))
    assert yard.ledger.verify().head.length == 1 + 2 * len(expected)
    assert before > 0  # the kills came in the middle, and not before the first word
