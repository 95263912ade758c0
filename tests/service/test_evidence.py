"""False receipts are evidence against the key that signed them, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("httpx", reason="the extra `client` is not installed")

from balance_core.cli import invoke
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.service.client.evidence import against_proof, against_receipt, by_itself, read_receipt
from balance_core.service.receipts import sign_receipt
from balance_core.signing import SigningKey
from tests.service.auditing import Desk, QuickChecker, made_set

CHECKER = QuickChecker()
INPUTS = {"x": np.array([[0.5, -1.0, 0.25, 2.0]], dtype=np.float32)}
NONCE = "5a" * 32


@pytest.fixture(scope="module")
def desk(home):
    return Desk(home)


@pytest.fixture(scope="module")
def true(desk):
    return desk.answer(INPUTS, nonce=NONCE)


@pytest.fixture(scope="module")
def false(desk):
    """A receipt of another model's answer, signed by the provider itself."""
    return desk.answer(INPUTS, nonce=NONCE, outputs=desk.truth(INPUTS, seed=2))


@pytest.fixture(scope="module")
def proof(desk, true):
    return desk.bundle(INPUTS, true.receipt.context).to_bytes()


def test_a_proof_bears_a_true_receipt_out(true, proof):
    judgement = against_proof(true, proof, CHECKER)
    assert (judgement.finding, judgement.false) == ("borne-out", False)


def test_a_proof_refutes_a_false_one(false, proof, desk):
    judgement = against_proof(false, proof, CHECKER)
    assert (judgement.finding, judgement.false) == ("refuted", True)
    assert judgement.provider == desk.signer.public
    assert judgement.registration_id == desk.registration.registration_id
    assert not judgement.sound  # the reference backend's proof convinces only those who run the model


def test_a_proof_of_the_same_input_under_another_context_refutes_it_too(false, desk):
    """A circuit is a function: whatever the request was called, the input has one output."""
    assert against_proof(false, desk.bundle(INPUTS, "11" * 32).to_bytes(), CHECKER).finding == "refuted"


def test_a_proof_of_another_request_of_the_same_input_bears_a_true_one_out(true, desk):
    assert against_proof(true, desk.bundle(INPUTS, "11" * 32).to_bytes(), CHECKER).finding == "borne-out"


def test_a_proof_of_another_input_is_no_evidence(true, desk):
    """Whoever holds the model could prove any input under the receipt's context, to blame an honest provider."""
    other = {"x": made_set(1)[0].reshape(1, 4)}
    with pytest.raises(ConfigError, match="says nothing"):
        against_proof(true, desk.bundle(other, true.receipt.context).to_bytes(), CHECKER)


def test_a_receipt_by_another_key_is_no_evidence(false, proof):
    stranger = SigningKey.generate()
    theirs = sign_receipt(stranger, false.receipt.model_copy(update={"provider": stranger.public}))
    with pytest.raises(InvalidProof, match="not the registration's provider"):
        against_proof(theirs, proof, CHECKER)
    with pytest.raises(InvalidProof, match="signature"):
        against_proof(theirs.model_copy(update={"receipt": false.receipt}), proof, CHECKER)


def test_a_proof_under_another_registration_is_no_evidence(false, home):
    other = Desk(home, name="other")
    with pytest.raises(InvalidProof, match="another registration"):
        against_proof(false, other.bundle(INPUTS, false.receipt.context).to_bytes(), CHECKER)


def test_altered_receipts_and_proofs_are_no_evidence(true, proof):
    better = true.receipt.model_copy(update={"time": "2020-01-01T00:00:00.000Z"})
    with pytest.raises(InvalidProof, match="signature"):
        against_proof(true.model_copy(update={"receipt": better}), proof, CHECKER)
    data = true.to_json()
    random = np.random.default_rng(1)
    for at in random.choice(len(data), 40, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with pytest.raises(BalanceError):
            read_receipt(bytes(flipped))
    for at in random.choice(len(proof), 40, replace=False):
        flipped = bytearray(proof)
        flipped[at] ^= 1
        with pytest.raises(BalanceError):
            against_proof(true, bytes(flipped), CHECKER)


def test_a_proof_that_says_what_the_model_does_not_is_no_evidence(true, desk):
    forged = desk.bundle(INPUTS, true.receipt.context, outputs=desk.truth(INPUTS, seed=2))
    with pytest.raises(InvalidProof, match="answers otherwise"):
        against_proof(true, forged.to_bytes(), CHECKER)


def test_two_outputs_for_one_request_are_evidence(true, false):
    assert against_receipt(true, false).finding == "equivocal"
    assert against_receipt(false, true).false


def test_two_receipts_of_different_requests_are_none(true, desk, home):
    with pytest.raises(ConfigError, match="same output"):
        against_receipt(true, desk.answer(INPUTS, nonce=NONCE, time="2031-01-01T00:00:00.000Z"))
    with pytest.raises(ConfigError, match="nonce"):
        against_receipt(true, desk.answer(INPUTS, nonce="6b" * 32, outputs=desk.truth(INPUTS, seed=2)))
    other = {"x": made_set(1)[0].reshape(1, 4)}
    with pytest.raises(ConfigError, match="input_sha256"):
        against_receipt(true, desk.answer(other, nonce=NONCE))
    stranger = Desk(home, name="third")
    with pytest.raises(InvalidProof, match="receipt is by"):
        against_receipt(true, stranger.answer(INPUTS, nonce=NONCE))


def test_a_receipt_by_itself_is_its_providers_word(true):
    assert by_itself(true).finding == "signed"


# The command


@pytest.fixture
def files(tmp_path, true, false, proof):
    for name, data in (("true", true.to_json()), ("false", false.to_json()), ("proof", proof)):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def told(capsys, *arguments):
    code = invoke(["receipt", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_the_command_says_what_a_receipt_is_worth(files, capsys):
    code, out = told(capsys, "check", files / "true")
    assert code == 0
    assert "the provider signed it" in out
    code, out = told(capsys, "check", files / "true", "--bundle", files / "proof")
    assert code == 0
    assert "true: the proof shows the same" in out


def test_the_command_shows_evidence_with_exit_code_1(files, capsys):
    code, out = told(capsys, "check", files / "false", "--bundle", files / "proof")
    assert code == 1
    assert "FALSE" in out
    assert "not sound" in out
    code, out = told(capsys, "check", files / "false", "--other", files / "true", "--json")
    assert code == 1
    assert '"finding":"equivocal"' in out


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 100, b"[" * 10_000])
def test_the_command_refuses_what_is_no_receipt(files, capsys, content):
    (files / "junk").write_bytes(content)
    assert invoke(["receipt", "check", str(files / "junk")]) == 2
    assert invoke(["receipt", "check", str(files / "true"), "--bundle", str(files / "junk")]) == 2
    assert "error:" in capsys.readouterr().err
