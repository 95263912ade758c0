"""Processes that write at once, and processes that are killed, leave a ledger that holds all they were promised."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from balance_core.errors import ChainUnreachable

WRITER = """
import json, os, random, signal, sys, time
from pathlib import Path
from balance_core import cid
from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.chain import ProofRecord

folder, registration, mode, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

def ledger():
    return Ledger(LedgerSettings(path=folder / "ledger.db", key="alice", keys=folder / "keys"))

def record(name):
    return ProofRecord(registration_id=registration, context=cid_digest(name), inputs_digest="00" * 32,
        statement_digest="11" * 32, bundle=cid.of_bytes(b"bundle"))

def cid_digest(name):
    import hashlib
    return hashlib.sha256(name.encode()).hexdigest()

def append(chain, name):
    return [name, chain.submit(record(name), key=name, inline=name.encode()).entry]

if mode == "append":
    print("ready", flush=True)
    sys.stdin.readline()
    chain = ledger()
    print(json.dumps([append(chain, f"{os.getpid()}-{i}") for i in range(rounds)]))
else:
    # Forked and not started anew, so that the kills and not the imports take the time.
    chance, acknowledged = random.Random(7), []
    for i in range(rounds):
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            chain, number = ledger(), 0
            while True:
                os.write(there, json.dumps(append(chain, f"{i}-{number}")).encode() + b"\\n")
                number += 1
        os.close(there)
        with os.fdopen(here, "rb") as stream:
            lines = [stream.readline() for _ in range(chance.randrange(4))]
            time.sleep(chance.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines += stream.readlines()
        acknowledged += [json.loads(line) for line in lines if line.endswith(b"]\\n")]
    print(json.dumps(acknowledged))
"""


def start(world, mode: str, rounds: int) -> subprocess.Popen:
    registration = world.registration().registration_id
    command = [sys.executable, "-c", WRITER, str(world.folder), registration, mode, str(rounds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def names(world) -> dict[str, str]:
    """Return the inline names of all proofs by entry."""
    ledger = world.ledger()
    events = [event for event in ledger.events() if event.type == "submitted"]
    return {ledger.inline(event.ref).decode(): event.ref.entry for event in events}


def test_what_a_killed_process_was_promised_is_there(world):
    world.filled(1).close()
    process = start(world, "kill", 40)
    output, _ = process.communicate(timeout=120)
    acknowledged = dict(json.loads(output))
    assert len(acknowledged) >= 40
    found = names(world)
    assert acknowledged.items() <= found.items()
    assert world.ledger().verify().head.length == len(found) + 1
    assert world.ledger().submit(world.proof(1), key="go on").entry == str(len(found) + 2)


def test_processes_can_append_at_once_and_each_entry_is_there_once(world):
    world.filled(1).close()
    processes = [start(world, "append", 60) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    acknowledged = [pair for process in processes for pair in json.loads(process.communicate(timeout=120)[0])]
    assert len({entry for _, entry in acknowledged}) == len(acknowledged) == 180
    assert names(world) == dict(acknowledged)
    assert world.ledger().verify().head.length == 181


def test_processes_that_make_the_ledger_at_once_make_one(world):
    code = f"""
import sys
from pathlib import Path
from balance_core.builtin.ledger_file import create
print("ready", flush=True)
sys.stdin.readline()
create(Path({str(world.path)!r}))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=30)
        assert process.returncode == 0
    world.ledger().register(world.registration(), key="r")
    assert world.ledger().verify().head.length == 1
    assert not list(world.folder.glob(".ledger-*"))


def test_an_acknowledged_entry_is_flushed_to_the_disk(world):
    ledger = world.filled(1)
    with ledger._file.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_ledger_that_somebody_holds_is_reported_and_not_waited_for_for_ever(world):
    ledger = world.filled(1)
    impatient = world.ledger(wait_seconds=0.1)
    with ledger._file.writing():
        with pytest.raises(ChainUnreachable, match="is held by another process"):
            impatient.submit(world.proof(1), key="x")
        assert impatient.head().length == 1  # readers do not wait for writers
    assert impatient.submit(world.proof(1), key="x").entry == "2"
