"""Private inputs through the service: hidden from all others, and opened by the consumer who asked."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from balance_core import arrays, registry, verification
from balance_core.bundle import Bundle
from balance_core.errors import ConfigError, InvalidProof, Refused
from balance_core.service import AuditTerms, Client, Provider, listening
from balance_core.service.audit.check import check_file
from balance_core.service.client.checking import Checker
from balance_core.service.jobs.attempt import Attempt
from balance_core.testing import models
from tests.service.live import SAMPLES, home, provider

pytestmark = pytest.mark.plugin("zkml_halo2")
X, OTHER = SAMPLES[2][0], SAMPLES[3][0]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A provider whose proofs hide inputs, and its URL."""
    if "zkml_halo2" not in registry.names("backends"):
        pytest.skip("zkml_halo2 is not installed")
    settings = {"inputs": "private"}
    with (
        home(tmp_path_factory.mktemp("private")),
        Provider(models.mlp(seed=1), samples=SAMPLES[:, 0], backend="zkml_halo2", settings=settings) as made,
        listening(made) as url,
    ):
        yield made, url


@pytest.fixture
def client(served):
    with Client(served[1]) as made:
        yield made


def of_another_input(monkeypatch, served):
    """Have the provider answer and prove OTHER, whatever it was asked."""
    answerers, begin = served[0]._started.answerers, Attempt.__init__
    honest = answerers.answer
    monkeypatch.setattr(answerers, "answer", lambda inputs: honest(dict.fromkeys(inputs, OTHER[None])))

    def cheat(self, executor, leases, *rest, **more):
        for lease in leases:
            lease.inputs = arrays.pack(dict.fromkeys(arrays.unpack(lease.inputs), OTHER[None]))
        begin(self, executor, leases, *rest, **more)

    monkeypatch.setattr(Attempt, "__init__", cheat)


def test_the_consumer_holds_an_opening_that_convinces_whomever_it_is_shown_to(client):
    asked = client.ask(X, proof="now")
    assert asked.verified.hides_inputs
    assert not asked.hidden
    bundle = Bundle.from_bytes(asked.bundle)
    verifier = registry.create("verifiers", "zkml_halo2")
    shown = verification.verify(bundle, verifier, opened=asked.opening)
    assert shown.opened_inputs == asked.opening.inputs
    with pytest.raises(InvalidProof):
        verification.verify(bundle, verifier, opened=asked.opening.model_copy(update={"blind": "5" * 64}))


def test_a_proof_that_is_asked_for_afterwards_opens_too(client):
    answer = client.ask(X)
    assert client.prove(answer).opening.blind == answer.question.blind


def test_a_provider_that_proves_another_private_input_is_found_out(served, client, monkeypatch):
    of_another_input(monkeypatch, served)
    with pytest.raises(InvalidProof, match="other inputs"):
        client.ask(X, proof="now")


def test_a_provider_that_hides_the_input_with_bytes_of_its_own_is_found_out(client, monkeypatch):
    begin = Attempt.__init__

    def deaf(self, executor, leases, *rest, **more):
        for lease in leases:
            lease.blind = None
        begin(self, executor, leases, *rest, **more)

    monkeypatch.setattr(Attempt, "__init__", deaf)
    with pytest.raises(InvalidProof, match="other inputs"):
        client.ask(X, proof="now")


def test_what_hides_an_input_is_sealed_while_it_waits_and_gone_when_it_is_proven(served, client):
    made, _ = served
    folder = made.workspace.root
    answer = client.ask(X)
    blind = answer.question.blind

    def somewhere():
        return any(bytes.fromhex(blind) in data or blind.encode() in data for data in contents(folder))

    assert kept_inputs(made, answer)
    assert not somewhere()
    client.prove(answer)
    assert not kept_inputs(made, answer)
    assert not somewhere()


def contents(folder):
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a folder, or what a worker has removed meanwhile
            yield path.read_bytes()


def kept_inputs(made, answer):
    from balance_core.service.jobs.tables import inputs

    with made.queue._database.read() as connection:
        return connection.execute(inputs.select().where(inputs.c.job_id == answer.receipt.job)).all()


def test_a_provider_that_says_that_nothing_is_hidden_is_found_out(client):
    client.pin()
    client.consumer.hides = False  # as its description would have it
    with pytest.raises(InvalidProof, match="another input"):
        client.ask(X, proof="now")


def test_whoever_wants_the_input_shown_is_refused_at_once(client):
    with pytest.raises(Refused, match="hides inputs"):
        client.ask(X, private=False)


def test_nothing_is_blinded_where_nothing_is_hidden(tmp_path):
    with home(tmp_path), provider(provers=0) as made, pytest.raises(ConfigError, match="nothing to blind"):
        made.infer(SAMPLES[0], blind="5" * 64)


def test_an_audit_opens_what_its_proofs_hide_and_a_third_person_does(client):
    labels = np.zeros(3, np.int64)
    file = client.audit(SAMPLES[:3, 0], labels, AuditTerms(stalled_seconds=60))
    assert (file.report.proven, file.report.hidden, file.report.caught) == (3, False, False)
    checker = Checker()
    try:
        assert check_file(file, checker.by_sample) == file.report
        salted = file.evidence.test_set.model_copy(update={"salt": "5" * 64})
        with pytest.raises(InvalidProof):
            check_file(replace(file, evidence=replace(file.evidence, test_set=salted)), checker.by_sample)
    finally:
        checker.close()


def test_an_audit_catches_a_provider_that_proves_another_private_input(served, client, monkeypatch):
    of_another_input(monkeypatch, served)
    file = client.audit(SAMPLES[:2, 0], np.zeros(2, np.int64), AuditTerms(stalled_seconds=60))
    assert file.report.caught
    assert file.report.unproven == (0, 1)
