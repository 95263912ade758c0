"""A set of three validators with a quorum of two, and one of them that says two things."""

from __future__ import annotations

import pytest
from balance_evm import codec, interfaces, typed_data
from balance_evm.chain import EvmChain
from balance_evm.deploy import deploy_registry
from eth_account import Account
from eth_account.messages import encode_typed_data

from balance_core.chain import Attestation
from balance_core.chain_state import ProofStatus, Verdict
from balance_core.errors import InvalidProof

from .chain_town import PEOPLE, proof, registration, settings

VALIDATORS = ("bob", "carol", "dave")
SUBMITTED, DISPUTED, ATTESTED = 1, 2, 3
"""The registry's own words for how a proof stands."""


class Trial:
    """Alice's submitted proof, and validators that look at it."""

    def __init__(self, node):
        accounts = tuple(PEOPLE[who].address.lower() for who in VALIDATORS)
        self.chain = EvmChain(settings(node, validators=accounts, quorum=2))
        registry = deploy_registry(self.chain, anew=True)
        self.chains = {who: EvmChain(settings(node, who, registry=registry)) for who in PEOPLE}
        self.chains["alice"] = self.chain
        self.of = registration()
        self.record = proof(self.of, 1)
        self.chain.register(self.of, key="1")
        self.chain.submit(self.record, key="2")

    def attestation(self, who, *, valid=True):
        return Attestation(
            proof_id=self.record.proof_id,
            statement_digest=self.record.statement_digest,
            valid=valid,
            validator=codec.identity_of(PEOPLE[who].address),
        )

    def attest(self, who, *, valid=True):
        self.chains[who].attest(self.attestation(who, valid=valid), key=f"attest-{valid}")

    def on_chain(self):
        """Return how the contract itself says that the proof stands."""
        network, name = self.chain.network, self.chain.model(self.chain.chronicle(), self.of.registration_id).name
        answer = codec.answer_of(name, self.record.proof_id)
        return network.view(network.registry, interfaces.registry(), "proofStatus", name, answer)

    def state(self):
        return self.chain.chronicle().replay.state.proofs[self.record.proof_id]

    def signed(self, who, *, valid=True, chain_id=None, statement=None):
        """Return a word and its signature, made by a wallet library and not by the adapter."""
        word = self.chain.word(self.attestation(who, valid=valid))
        if statement is not None:
            word["statementDigest"] = statement
        network = self.chain.network
        message = typed_data.typed(word, chain_id or network.chain_id, network.registry)
        return word, bytes(Account.sign_message(encode_typed_data(full_message=message), PEOPLE[who].key).signature)


@pytest.fixture
def trial(node, tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    return Trial(node)


def test_attested_only_at_the_quorum(trial):
    assert trial.on_chain() == SUBMITTED
    trial.attest("bob")
    assert trial.on_chain() == SUBMITTED
    trial.attest("carol")
    assert trial.on_chain() == ATTESTED
    people = [codec.identity_of(PEOPLE[who].address) for who in VALIDATORS]
    assert trial.state().status(people, 2) is ProofStatus.ATTESTED


def test_the_word_of_a_stranger_does_not_count(trial):
    trial.attest("alice")
    trial.attest("bob")
    assert trial.on_chain() == SUBMITTED


def test_one_that_says_invalid_disputes(trial):
    trial.attest("bob")
    trial.attest("carol")
    trial.attest("dave", valid=False)
    assert trial.on_chain() == DISPUTED


def test_anybody_may_carry_a_signed_word(trial):
    word, signature = trial.signed("bob")
    trial.chain.writer.perform(trial.chain.carry(word, signature))
    event = list(trial.chain.events())[-1]
    assert (event.type, event.signer) == ("attested", codec.identity_of(PEOPLE["bob"].address))


def test_a_word_for_another_chain_is_nobodys_word_here(trial):
    word, signature = trial.signed("bob", chain_id=1)
    trial.chain.writer.perform(trial.chain.carry(word, signature))
    trial.attest("carol")
    assert codec.identity_of(PEOPLE["bob"].address) not in trial.state().verdicts
    assert trial.on_chain() == SUBMITTED


def test_two_verdicts_of_one_validator_convict_it_by_themselves(trial):
    words = [trial.signed("bob", valid=True), trial.signed("bob", valid=False)]
    network = trial.chain.network
    culprit = typed_data.equivocator(words, network.chain_id, network.registry)
    assert culprit == PEOPLE["bob"].address.lower()
    structs = [(tuple(word.values()), signature) for word, signature in words]
    found = network.view(network.registry, interfaces.registry(), "equivocator", *structs[0], *structs[1])
    assert str(found).lower() == culprit


def test_two_statements_called_valid_convict_as_well(trial):
    words = [trial.signed("bob"), trial.signed("bob", statement=b"\x77" * 32)]
    network = trial.chain.network
    assert typed_data.equivocator(words, network.chain_id, network.registry) == PEOPLE["bob"].address.lower()


@pytest.mark.parametrize("case", ["two hands", "same word", "other chain", "cut", "high s"])
def test_what_is_no_contradiction_convicts_nobody(trial, case):
    network = trial.chain.network
    one, other = trial.signed("bob"), trial.signed("bob", valid=False)
    if case == "two hands":
        other = trial.signed("carol", valid=False)
    elif case == "same word":
        other = one
    elif case == "other chain":
        other = trial.signed("bob", valid=False, chain_id=1)
    elif case == "cut":
        other = (other[0], other[1][:-1])
    else:
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        r, s, v = other[1][:32], int.from_bytes(other[1][32:64], "big"), other[1][64]
        other = (other[0], r + (order - s).to_bytes(32, "big") + bytes([55 - v]))
    with pytest.raises(InvalidProof):
        typed_data.equivocator([one, other], network.chain_id, network.registry)


def test_an_equivocation_on_the_chain_stays_there(trial):
    trial.attest("bob")
    trial.attest("carol")
    assert trial.on_chain() == ATTESTED
    trial.attest("bob", valid=False)
    assert trial.on_chain() == SUBMITTED
    assert trial.state().verdicts[codec.identity_of(PEOPLE["bob"].address)] is Verdict.EQUIVOCATED
