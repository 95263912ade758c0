"""What a client does not believe: everything that a provider may say instead of the truth."""

from __future__ import annotations

import asyncio
import json
import re

import numpy as np
import pytest

pytest.importorskip("httpx", reason="the extra `client` is not installed")

import httpx

from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.chain import Revocation
from balance_core.errors import (
    BalanceError,
    Busy,
    ChainError,
    ConfigError,
    InvalidProof,
    ProviderUnreachable,
    Refused,
    Rejected,
)
from balance_core.records import Registration
from balance_core.service import AsyncClient, Client
from balance_core.service.client.book import Book, Pin
from balance_core.service.client.checking import Checker
from balance_core.service.receipts import context_of, sign_receipt
from balance_core.signing import SigningKey
from tests.service.auditing import NAME, Desk, QuickChecker, client_of, made_set

INFER = f"/v2/models/{NAME}/infer"
X = np.array([0.5, -1.0, 0.25, 2.0], dtype=np.float32)


@pytest.fixture
def desk(home):
    return Desk(home)


@pytest.fixture
def book(tmp_path):
    return tmp_path / "receipts.jsonl"


def forging(desk, change):
    """Have the provider send a receipt that was changed, and signed again with its own key."""

    def hook(_, response):
        signed = desk.receipts[list(desk.receipts)[-1]]
        forged = change(signed)
        return desk.told(forged if forged is not None else signed) if response.status_code == 200 else response

    desk.hooks[INFER] = hook


def resigned(desk, **changes):
    def change(signed):
        fields = {name: getattr(signed.receipt, name) for name in type(signed.receipt).model_fields} | changes
        if "nonce" in changes:
            fields["context"] = context_of(changes["nonce"], fields["registration_id"])
        return sign_receipt(desk.signer, type(signed.receipt).model_validate(fields))

    return change


def test_an_answer_is_checked_and_kept(desk, book):
    with client_of(desk, book=book) as client:
        answer = client.ask(X)
    assert answer.verified is None
    assert [one.receipt_id for one in Book(book).receipts()] == [answer.receipt.receipt_id]
    assert np.array_equal(answer.outputs["y"], desk.truth({"x": X.reshape(1, 4)})[0].real())


def test_each_question_has_a_nonce_of_its_own(desk):
    with client_of(desk) as client:
        assert client.ask(X).receipt.nonce != client.ask(X).receipt.nonce


@pytest.mark.parametrize("proof", ["now", "later"])
def test_a_proof_is_fetched_and_checked(desk, proof):
    with client_of(desk) as client:
        answer = client.ask(X, proof=proof)
        answer = client.prove(answer) if proof == "later" else answer
    assert answer.statement.context == answer.receipt.context
    assert answer.verified.registration_id == desk.registration.registration_id
    assert not answer.proven  # by the reference backend
    assert not answer.hidden


def test_an_answer_without_a_proof_can_be_proven_later(desk):
    with client_of(desk) as client:
        assert client.prove(client.ask(X)).statement is not None


def test_a_real_checker_checks_in_another_process(desk):
    with client_of(desk, checker=Checker()) as client:
        assert client.ask(X, proof="now").statement is not None


def test_the_async_client_does_the_same(desk, book):
    async def ask():
        chain = Ledger(LedgerSettings(read_only=True))
        async with AsyncClient("http://provider.test", transport=desk.transport(), chain=chain, book=book) as client:
            client.consumer.checker = QuickChecker()
            answers = await asyncio.gather(*(client.ask(X, proof="now") for _ in range(3)))
            return answers, await client.pin()

    answers, pin = asyncio.run(ask())
    assert all(answer.statement is not None for answer in answers)
    assert pin.registration == desk.registration
    assert len(list(Book(book).receipts())) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "7" * 64}, "another request"),
        ({"input_sha256": "7" * 64}, "another input"),
        ({"input_digest": "7" * 64}, "another input than the registered circuit makes"),
        ({"input_digest": None}, "another input than the registered circuit makes"),
        ({"proof": "later", "job_id": "job"}, "promises proof"),
    ],
)
def test_a_receipt_of_anything_else_is_refused(desk, book, changes, reason):
    if changes.get("job_id"):
        forging(desk, lambda one: resigned(desk, proof="later", job_id=one.receipt.job)(one))
    else:
        forging(desk, resigned(desk, **changes))
    with client_of(desk, book=book) as client, pytest.raises(InvalidProof, match=reason):
        client.ask(X)
    assert not list(Book(book).receipts())


def test_an_old_receipt_is_refused(desk):
    with client_of(desk) as client:
        old = client.ask(X).signed
        desk.hooks[INFER] = lambda *_: desk.told(old)
        with pytest.raises(InvalidProof, match="another request"):
            client.ask(X)


@pytest.mark.parametrize(
    "time",
    ["2020-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z", "2026-02-30T00:00:00.000Z", "2026-01-01T24:00:01.000Z"],
)
def test_a_receipt_of_another_time_is_refused(desk, time):
    forging(desk, resigned(desk, time=time))
    with client_of(desk) as client, pytest.raises(InvalidProof, match=r"not now|is none"):
        client.ask(X)


def test_a_receipt_under_another_registration_is_refused(desk, home):
    other = Desk(home, name="other")
    forging(
        desk, lambda one: sign_receipt(other.signer, one.receipt.model_copy(update={"provider": other.signer.public}))
    )
    with client_of(desk) as client, pytest.raises(InvalidProof, match="receipt is by"):
        client.ask(X)
    forging(desk, resigned(desk, nonce="7" * 64, registration_id=other.registration.registration_id))
    with client_of(desk) as client, pytest.raises(InvalidProof, match="another registration"):
        client.ask(X)


def test_a_receipt_that_nobody_signed_is_refused(desk):
    forging(desk, lambda one: one.model_copy(update={"signature": "0" * 128}))
    with client_of(desk) as client, pytest.raises(InvalidProof, match="signature"):
        client.ask(X)
    stranger = SigningKey.generate()
    forging(desk, lambda one: one.model_copy(update={"signature": stranger.sign(b"x").hex()}))
    with client_of(desk) as client, pytest.raises(InvalidProof, match="signature"):
        client.ask(X)


def test_numbers_beside_the_receipt_are_compared_with_it(desk):
    def hook(_, response):
        document = json.loads(response.content)
        document["outputs"][0]["data"][0] += 1
        return httpx.Response(200, json=document)

    desk.hooks[INFER] = hook
    with client_of(desk) as client, pytest.raises(InvalidProof, match="not what the receipt says"):
        client.ask(X)


def test_numbers_that_no_double_holds_are_refused(desk):
    def huge(signed):
        outputs = tuple(one.model_copy(update={"numerator": 10**400}) for one in signed.receipt.outputs)
        return sign_receipt(desk.signer, signed.receipt.model_copy(update={"outputs": outputs}))

    desk.hooks[INFER] = lambda *_: _without_outputs(desk.told(desk.receipts[list(desk.receipts)[-1]]), huge, desk)
    with client_of(desk) as client, pytest.raises(InvalidProof, match="too large"):
        client.ask(X)


def _without_outputs(response, change, desk):
    """Return the answer with a changed receipt, and no numbers beside it."""
    document = json.loads(response.content)
    document["outputs"] = []
    document["parameters"]["balance_receipt"] = change(desk.receipts[list(desk.receipts)[-1]]).to_json().decode()
    return httpx.Response(200, json=document)


def test_an_answer_says_whether_its_input_was_bound_here(desk, home):
    with client_of(desk) as client:
        assert client.ask(X).bound
    with client_of(Desk(home, gives_parts=False)) as client:
        assert not client.ask(X).bound


def test_a_false_answer_is_caught_by_its_proof(home):
    desk = Desk(home, swapped=lambda _: True)
    with client_of(desk) as client:
        answer = client.ask(X)
        with pytest.raises(InvalidProof, match="another output"):
            client.prove(answer)


def test_proofs_of_anything_else_are_refused(desk, home):
    with client_of(desk) as client:
        answer = client.ask(X, proof="later")
        job = desk.ordered[answer.receipt.job_id]
        other = {"x": made_set(1)[0].reshape(1, 4)}
        for bundle, reason in (
            (desk.bundle(other, answer.receipt.context), "another input"),
            (desk.bundle({"x": X.reshape(1, 4)}, "7" * 64), "another request"),
            (Desk(home, name="third").bundle({"x": X.reshape(1, 4)}, answer.receipt.context), "another registration"),
        ):
            desk.bundles[job.bundle] = bundle.to_bytes()
            with pytest.raises(InvalidProof, match=reason):
                client.prove(answer)
        for data in (b"", b"PK\x03\x04", b"\0" * 1000):
            desk.bundles[job.bundle] = data
            with pytest.raises(ConfigError):
                client.prove(answer)


def test_a_job_that_fails_is_a_refusal(home):
    desk = Desk(home, refuses_to_prove=lambda _: True)
    with client_of(desk) as client, pytest.raises(Refused, match="did not prove"):
        client.ask(X, proof="now")


def test_a_provider_that_never_proves_is_given_up(desk):
    with client_of(desk) as client:
        answer = client.ask(X, proof="later")
        desk.ordered[answer.receipt.job_id].bundle = None
        desk.ordered[answer.receipt.job_id].state = "queued"
        with pytest.raises(ProviderUnreachable, match="within"):
            client.prove(answer, seconds=0.2)


# What is relied on


def test_the_registration_comes_from_the_chain(desk, book):
    with client_of(desk, book=book) as client:
        pin = client.pin()
    assert pin.registration == desk.registration
    assert pin.voucher.chain == "ledger"
    assert pin.head.check().length >= int(pin.voucher.entry)
    assert [one for one in Book(book).records() if isinstance(one, Pin)] == [pin]


def test_a_registration_that_the_chain_does_not_know_is_refused(desk):
    desk.registration = desk.registration.model_copy(update={"name": "unknown"})
    with client_of(desk) as client, pytest.raises(Rejected):
        client.pin()


def test_a_revoked_registration_is_refused(home):
    desk = Desk(home, name="revoking")
    desk.ledger.revoke(Revocation(registration_id=desk.registration.registration_id), key="revoke")
    with client_of(desk) as client, pytest.raises(Rejected, match="revoked"):
        client.pin()


def test_a_provider_cannot_change_its_registration_behind_ones_back(desk, home, book):
    with client_of(desk, book=book) as client:
        client.pin()
    other = Desk(home, name="newcomer")
    with client_of(other, book=book) as client, pytest.raises(InvalidProof, match="you relied on"):
        client.pin()
    with client_of(other, book=book, registration=other.registration.registration_id) as client:
        assert client.pin().registration == other.registration


def test_a_later_version_by_the_same_provider_is_taken(home, book):
    desk = Desk(home, name="growing")
    with client_of(desk, book=book) as client:
        client.pin()
    first = desk.registration
    desk.registration = desk.register(version=2, previous=first.registration_id)
    with client_of(desk, book=book) as client:
        assert client.pin().registration.version == 2


def test_the_consumers_own_choice_counts(desk, home):
    other = Desk(home, name="chosen")
    wanted = other.registration.registration_id
    with client_of(desk, registration=wanted, model=NAME) as client, pytest.raises(InvalidProof):
        client.ask(X)


def test_a_registration_can_be_given_without_a_chain(desk, tmp_path):
    with client_of(desk, chain=None, registration=desk.registration) as client:
        assert client.ask(X).receipt.registration_id == desk.registration.registration_id
    path = tmp_path / "registration.json"
    path.write_bytes(desk.registration.to_json())
    with client_of(desk, chain=None, registration=path, book=tmp_path / "book") as client:
        assert client.pin().registration == desk.registration
    with client_of(desk, chain=None) as client, pytest.raises(ConfigError, match="without a chain"):
        client.pin()


def test_a_chain_that_was_rewritten_since_is_noticed(home, tmp_path, book):
    desk = Desk(home)
    with client_of(desk, book=book) as client:
        client.pin()
    forged = Ledger(LedgerSettings(path=tmp_path / "forged.db", key="provider"))
    forged.register(desk.registration, key="again")
    with client_of(desk, book=book, chain=forged) as client, pytest.raises(ChainError, match="head is of the ledger"):
        client.pin()


def test_parts_of_another_circuit_are_refused(desk, home):
    twin = Desk(home, name="twin", seed=2)
    desk.hooks["/v1/registrations/[0-9a-f]{64}/parts"] = lambda *_: twin._parts(None)
    with client_of(desk) as client, pytest.raises(InvalidProof, match="another registration"):
        client.pin()
    desk.key = twin.key
    desk.hooks.clear()
    with client_of(desk) as client, pytest.raises(InvalidProof, match="circuit"):
        client.pin()


def test_without_the_verifying_key_the_proof_shows_the_input(home):
    desk = Desk(home, gives_parts=False)
    with client_of(desk) as client:
        assert client.ask(X, proof="now").statement is not None


# The transport


def test_a_busy_provider_is_asked_again(desk):
    times = []

    def hook(_, response):
        times.append(1)
        if len(times) < 3:
            return httpx.Response(429, json={"error": "later", "type": "Busy"}, headers={"Retry-After": "0"})
        return response

    desk.hooks[f"/v2/models/{NAME}"] = hook
    with client_of(desk) as client:
        client.pin()
    assert len(times) == 3


def test_patience_ends(desk):
    desk.hooks[INFER] = lambda *_: httpx.Response(429, headers={"Retry-After": "3600"})
    with client_of(desk) as client, pytest.raises(Busy):
        client.ask(X)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(500, content=b"\x1b[2Jboom"), Refused),
        (httpx.Response(403, json={"error": "no\nreally \x1b[31mno", "hint": "\x07", "type": "Forbidden"}), Refused),
        (httpx.Response(302, headers={"location": "http://elsewhere.test/"}), Refused),
        (httpx.Response(200, content=b""), ProviderUnreachable),
        (httpx.Response(200, content=b"[" * 100_000), ProviderUnreachable),
        (httpx.Response(200, content=b"{}"), ProviderUnreachable),
        (httpx.Response(200, content=b"\0" * (2**20 + 1)), ProviderUnreachable),
        (httpx.Response(200, content=b"x", headers={"content-encoding": "br"}), ProviderUnreachable),
    ],
)
def test_strange_answers_are_errors_on_one_line(desk, response, error):
    desk.hooks[f"/v2/models/{NAME}"] = lambda *_: response
    with client_of(desk) as client, pytest.raises(error) as caught:
        client.pin()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"model_name":"tiny","outputs":[]}', b"\xff" * 100])
def test_strange_answers_to_a_question_are_errors(desk, content):
    desk.hooks[INFER] = lambda *_: httpx.Response(200, content=content)
    with client_of(desk) as client, pytest.raises(ProviderUnreachable):
        client.ask(X)


def test_a_provider_that_is_not_there_is_an_error():
    class Nobody(httpx.BaseTransport):
        def handle_request(self, request):
            raise httpx.ConnectError("connection refused", request=request)

    desk = type("Desk", (), {"transport": lambda _: Nobody()})()
    with client_of(desk) as client, pytest.raises(ProviderUnreachable, match="refused"):
        client.pin()


def test_an_api_key_is_sent_and_not_shown(desk):
    seen = []
    desk.hooks[f"/v2/models/{NAME}"] = lambda request, response: (
        seen.append(request.headers["authorization"]) or response
    )
    with client_of(desk, api_key="balance_secret") as client:
        client.pin()
        assert "secret" not in repr(client)
    assert seen == ["Bearer balance_secret"]


def test_what_is_no_address_or_input_is_refused(desk):
    with pytest.raises(ConfigError, match="no address"):
        Client("provider.test")
    with client_of(desk) as client:
        for wrong in (np.zeros(5), np.array([np.nan] * 4), np.zeros((2, 4)), {"z": X, "w": X}):
            with pytest.raises(ConfigError):
                client.ask(wrong)


# The book


def test_a_book_that_was_altered_is_noticed(desk, book):
    with client_of(desk, book=book) as client:
        for _ in range(3):
            client.ask(X)
    whole = book.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 4  # the pin, and three receipts
    for forged in (
        b"".join([lines[0], *lines[2:]]),
        b"".join([lines[0], lines[2], lines[1], lines[3]]),
        re.sub(rb'"time":"20', b'"time":"19', whole),
        b"".join([lines[0], lines[1], b"{}\n", *lines[2:]]),
        b"\n" + whole,
    ):
        book.write_bytes(forged)
        with pytest.raises(ConfigError, match=r"line .* was altered or damaged"):
            list(Book(book).records())


def test_a_half_written_line_is_dropped_by_the_next(desk, book):
    with client_of(desk, book=book) as client:
        client.ask(X)
        whole = book.read_bytes()
        book.write_bytes(whole + whole[:100])
        assert len(list(Book(book).receipts())) == 1
        client.ask(X)
    assert len(list(Book(book).receipts())) == 2


def test_a_books_file_is_its_owners(desk, book):
    with client_of(desk, book=book) as client:
        client.ask(X)
    assert book.stat().st_mode & 0o077 == 0


def test_a_registration_file_that_is_none_is_refused(desk, tmp_path):
    (tmp_path / "r.json").write_bytes(b"{}")
    with pytest.raises(BalanceError), client_of(desk, registration=tmp_path / "r.json"):
        pass
    assert Registration.from_json(desk.registration.to_json()) == desk.registration
