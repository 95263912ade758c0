"""Two processes, one key, and a node that is killed half way: everything lands, once."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from balance_evm.anvil import Anvil
from balance_evm.chain import EvmChain
from balance_evm.deploy import deploy_registry

from .chain_town import PEOPLE, registration, settings

EACH = 200
TAKEN_BACK = 10
"""How many proofs are on the chain that the kill takes back, at least."""
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.chain_town import proof, registration, settings
from balance_evm.chain import EvmChain

class Node:
    url = sys.argv[2]

chain = EvmChain(settings(Node, patience_seconds=120.0, wait_seconds=120.0))
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    chain.submit(proof(registration(), number), key=f"crowd-{number}")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_two_processes_and_a_node_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    node = Anvil().start()
    node.fund(PEOPLE["alice"].address)
    chain = EvmChain(settings(node))
    deploy_registry(chain)
    chain.register(registration(), key="1")
    folder = str(Path(__file__).parents[1])
    ranges = [(0, EACH), (EACH, 2 * EACH)]
    outputs = [tmp_path / f"out{place}" for place in range(len(ranges))]
    workers = []
    for (first, last), output in zip(ranges, outputs, strict=True):
        with output.open("wb") as stream, output.with_suffix(".err").open("wb") as errors:
            command = [sys.executable, "-c", PROGRAM, folder, node.url, str(first), str(last)]
            workers.append(subprocess.Popen(command, stdout=stream, stderr=errors, env=dict(os.environ)))
    try:
        wait_for(EACH, outputs, workers)
        kept = keep_state(node, workers, tmp_path / "state.json")
        wait_for(kept + TAKEN_BACK, outputs, workers)
        node.stop(signal.SIGKILL)
        time.sleep(1.0)
        node = Anvil(port=node.port, arguments=("--load-state", str(tmp_path / "state.json"))).start()
        for worker in workers:
            assert worker.wait(400) == 0, errors_of(outputs)
        # What the kill took back is in the journal, and the next to write sends it again.
        chain.register(registration("letters"), key="2")
        deadline = time.monotonic() + 30
        while True:
            told = [event.record["context"] for event in chain.events() if event.type == "submitted"]
            if len(told) >= 2 * EACH or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert sorted(told) == [f"{number:064x}" for number in range(2 * EACH)]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        node.stop()


def wait_for(count, outputs, workers):
    """Wait until so many proofs are on the chain by the word of those who sent them."""
    while done_of(outputs) < count:
        assert all(worker.poll() is None for worker in workers), errors_of(outputs)
        time.sleep(0.02)


def done_of(outputs):
    return sum(len(output.read_bytes().splitlines()) for output in outputs)


def keep_state(node, workers, path):
    """Write down what the node has in a quiet moment, and return how many blocks that is.

    What it writes by itself while it mines (--state-interval) may hold a block's effects without the block.
    """
    rpc = node.rpc()
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        while any(int(count, 16) for count in rpc.call("txpool_status").values()):
            time.sleep(0.02)
        blocks = int(rpc.call("eth_blockNumber"), 16)
        path.write_bytes(gzip.decompress(bytes.fromhex(rpc.call("anvil_dumpState").removeprefix("0x"))))
        assert int(rpc.call("eth_blockNumber"), 16) == blocks
        return blocks
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)


def errors_of(outputs):
    return b"\n".join(output.with_suffix(".err").read_bytes()[-800:] for output in outputs).decode()
