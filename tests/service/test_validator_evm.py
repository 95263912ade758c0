"""A validator on an EVM chain, through the chain's going back: nothing is said twice, and nothing is left out."""

from __future__ import annotations

import io
import threading
import time

import pytest

from balance_core.chain import Attestation
from balance_core.errors import ToolNotFound
from balance_core.service.validator import Reason, State, Validator, ValidatorSettings

from .validating import QUICK, Yard

pytestmark = [pytest.mark.slow, pytest.mark.plugin("evm")]
KEYS = {"provider": 0x5EED01, "watcher": 0x5EED02}


@pytest.fixture
def town(tmp_path, monkeypatch):
    """A node of the test's own with a registry, and two accounts with money on it."""
    anvil = pytest.importorskip("balance_evm.anvil")
    try:
        anvil.binary()
    except ToolNotFound as error:
        pytest.skip(f"evm: {error.message}")
    from balance_evm.chain import EvmChain
    from balance_evm.deploy import deploy_registry
    from balance_evm.settings import EvmSettings
    from eth_account import Account

    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    yard = Yard(tmp_path)
    with anvil.Anvil() as node:
        settings = {}
        for who, number in KEYS.items():
            account = Account.from_key(number.to_bytes(32, "big"))
            monkeypatch.setenv(f"BALANCE_TEST_{who.upper()}", account.key.hex())
            node.fund(account.address)
            yard.person(who)
            settings[who] = {
                "rpc_url": node.url,
                "key_variable": f"BALANCE_TEST_{who.upper()}",
                "key": who,
                "patience_seconds": 5.0,
                "wait_seconds": 30.0,
            }
        deploy_registry(EvmChain(EvmSettings(**settings["provider"])))
        yard.ledger = EvmChain(EvmSettings(**settings["provider"]))
        yield yard, node, settings["watcher"]


def submitted(yard, registration):
    made, statement = yard.bundle(registration)
    return yard.submit(registration, statement, yard.storage.put(io.BytesIO(made.to_bytes())))


def said(chain):
    words = [Attestation.from_value(event.record) for event in chain.events() if event.type == "attested"]
    return [(word.proof_id, word.validator, word.valid) for word in words]


def test_a_reorganisation_takes_proofs_and_words_back_and_both_are_there_once_in_the_end(town):
    yard, node, settings = town
    registration = yard.register(provider=yard.provider.public)
    first = submitted(yard, registration)
    watcher = ValidatorSettings(**QUICK)
    memory = yard.home / "watcher.db"
    with Validator("evm", chain_settings=settings, settings=watcher, memory=memory) as validator:
        me = validator.public_key
        work = threading.Thread(target=validator.run)
        work.start()
        wait_for(lambda: validator.status().count(State.ATTESTED) == 1)
        second = submitted(yard, registration)
        wait_for(lambda: validator.status().count(State.ATTESTED) == 2)
        assert set(said(yard.ledger)) == {(first.proof_id, me, True), (second.proof_id, me, True)}

        node.rpc().call("anvil_reorg", 2, [])  # the second proof, and the word on it
        wait_for(lambda: validator.status().count(State.REVERTED) == 1)
        assert [proof for proof, _, _ in said(yard.ledger)] == [first.proof_id]

        yard.ledger.submit(second, key=f"submit/{second.proof_id}")
        wait_for(lambda: len(said(yard.ledger)) == 2)
        wait_for(lambda: validator.status().count(State.ATTESTED, Reason.VALID) == 2)
        assert set(said(yard.ledger)) == {(first.proof_id, me, True), (second.proof_id, me, True)}
        validator.stop()
        work.join()
    with Validator("evm", chain_settings=settings, settings=watcher, memory=memory) as validator:
        validator.run(until_done=True)
    assert len(said(yard.ledger)) == 2


def test_a_word_that_alone_is_taken_back_is_said_again(town):
    yard, node, settings = town
    registration = yard.register()
    record = submitted(yard, registration)
    watcher, memory = ValidatorSettings(**QUICK), yard.home / "watcher.db"
    with Validator("evm", chain_settings=settings, settings=watcher, memory=memory) as validator:
        validator.run(until_done=True)
        me = validator.public_key
    node.rpc().call("anvil_reorg", 1, [])
    assert said(yard.ledger) == []
    with Validator("evm", chain_settings=settings, settings=watcher, memory=memory) as validator:
        status = validator.run(until_done=True)
    assert said(yard.ledger) == [(record.proof_id, me, True)]
    assert status.count(State.ATTESTED, Reason.VALID) == 1


def wait_for(there, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)
