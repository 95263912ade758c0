"""Honest mocks of other kinds: weights bound by a commitment, inputs hidden, proofs randomised, contexts unbound."""

from __future__ import annotations

import hashlib
import secrets

from honest import (
    MAX_PROOF_BYTES,
    Answer,
    HonestBackend,
    HonestSettings,
    HonestVerifier,
    Rules,
    SealedAnswers,
    rounded,
    seal,
    tensors,
)
from pydantic import Field

from balance_core.contracts import OpensInputs
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import (
    Commitment,
    Hex,
    HiddenTensor,
    ModelCommitment,
    Opening,
    Proof,
    SetupTrust,
    Trust,
)

SALT = 32
HEAD = SALT + 32
"""Salt and provider, before the model."""


class OpenedAnswers(SealedAnswers):
    kind = "opened-answers"
    opened: Hex


class CommittingBackend(HonestBackend):
    """The key holds the interface; the weights are bound by a commitment, which every proof opens."""

    def key_parts(self, model):
        return {"rules": super().key_parts(model)["rules"]}

    def commit(self, circuit, model, provider, job):
        opened = secrets.token_bytes(SALT) + bytes.fromhex(provider) + model.onnx
        public = ModelCommitment(backend=circuit.backend, provider=provider, data=hashlib.sha256(opened).hexdigest())
        return Commitment(public=public, opening=Opening(blobs={"model": self.publish(job, "model", opened)}))

    def read_key(self, circuit, opening, job):
        self.opened = job.path(opening.blobs["model"]).read_bytes()
        return {**super().read_key(circuit, opening, job), "model": self.opened[HEAD:]}

    def proof(self, circuit, answers):
        sealed = seal(circuit.circuit_id + self.opened.hex(), answers)
        return Proof("honest", OpenedAnswers(answers=tuple(answers), seal=sealed, opened=self.opened.hex()).to_json())


class CommittingVerifier(HonestVerifier):
    """Checks that the proof opens the commitment, and asks the opened model again."""

    def verify(self, key, commitment, proof):
        if set(key.parts) != {"rules"}:
            raise InvalidProof("a verifying key of this mock has rules")
        try:
            rules = Rules.from_json(key.parts["rules"])
            sealed = OpenedAnswers.from_json(proof.data, max_size=MAX_PROOF_BYTES)
        except ConfigError as error:
            raise InvalidProof(error.message) from error
        opened = bytes.fromhex(sealed.opened)
        self.check_opening(commitment, opened)
        if not sealed.answers or sealed.seal != seal(key.circuit_id + sealed.opened, sealed.answers):
            raise InvalidProof("the seal does not fit")
        stated = (self.statement(key, opened[HEAD:], rules, answer) for answer in sealed.answers)
        return tuple(said.model_copy(update={"commitment_id": commitment.commitment_id}) for said in stated)

    def check_opening(self, commitment, opened):
        if commitment is None or hashlib.sha256(opened).hexdigest() != commitment.data:
            raise InvalidProof("the proof does not open the commitment")
        if opened[SALT:HEAD].hex() != commitment.provider:
            raise InvalidProof("the commitment is another provider's")

    def setup_trust(self, key):
        if "rules" not in key.parts:
            raise InvalidProof("the key is broken")
        return SetupTrust(trust=Trust.TRANSPARENT)


class IgnoresOwnCommitment(CommittingVerifier):
    """Any commitment will do, as long as there is one."""

    def check_opening(self, commitment, _):
        if commitment is None:
            raise InvalidProof("a commitment is needed")


class IgnoresProvider(CommittingVerifier):
    """A commitment passes for anybody's own."""

    def check_opening(self, commitment, opened):
        provider = opened[SALT:HEAD].hex()
        super().check_opening(commitment and commitment.model_copy(update={"provider": provider}), opened)


class HidingSettings(HonestSettings):
    hide: bool = Field(default=False, description="whether statements hide the inputs")


class HidingRules(Rules):
    kind = "hiding-rules"
    hide: bool = False


class HidingAnswer(Answer):
    kind = "hiding-answer"
    salt: Hex


class HidingAnswers(SealedAnswers):
    kind = "hiding-proof"
    answers: tuple[HidingAnswer, ...]


class HidingBackend(HonestBackend):
    """Statements can hold salted digests of the inputs, and no two proofs are the same."""

    settings_class = HidingSettings
    capabilities = HonestBackend.capabilities.model_copy(update={"private_input": True, "zero_knowledge": True})

    @property
    def promises(self):
        return self.capabilities.model_copy(update={"private_input": self.settings.hide})

    def key_parts(self, model):
        parts = super().key_parts(model)
        rules = Rules.from_json(parts["rules"]).model_dump()
        return {**parts, "rules": HidingRules(**rules, hide=self.settings.hide).to_json()}

    def read_key(self, circuit, opening, job):
        parts = super().read_key(circuit, opening, job)
        rules = HidingRules.from_json(parts["rules"]).model_dump(exclude={"hide"})
        return {**parts, "rules": Rules(**rules).to_json()}

    def prove(self, circuit, opening, requests, job):
        self.blinds = [request.blind for request in requests]
        return super().prove(circuit, opening, requests, job)

    def proof(self, circuit, answers):
        salts = [(blind or secrets.token_bytes(SALT)).hex() for blind in self.blinds]
        salted = [HidingAnswer(**answer.model_dump(), salt=salt) for answer, salt in zip(answers, salts, strict=True)]
        sealed = HidingAnswers(answers=tuple(salted), seal=seal(circuit.circuit_id, salted))
        return Proof("honest", sealed.to_json())


class HidingVerifier(HonestVerifier, OpensInputs):
    """Computes the digests again, too."""

    def stated(self, key, inputs):
        _, rules = self.read_key(key)
        return tensors(rules.inputs, [rounded(inputs[name], rules.bits) for name, _ in rules.inputs], rules.bits)

    def hidden(self, key, _, inputs, blind):
        if not self.read_key(key)[1].hide:
            raise InvalidProof("inputs are public under this key")
        return self.behind(inputs, blind.hex())

    def behind(self, inputs, salt):
        return tuple(
            HiddenTensor(name=given.name, shape=given.shape, scheme="sha256", commitment=self.digest(salt, given))
            for given in inputs
        )

    def read_key(self, key):
        try:
            return key.parts["model"], HidingRules.from_json(key.parts["rules"])
        except (ConfigError, KeyError) as error:
            raise InvalidProof("the key is broken") from error

    def read(self, proof):
        try:
            return HidingAnswers.from_json(proof.data, max_size=MAX_PROOF_BYTES)
        except ConfigError as error:
            raise InvalidProof(error.message) from error

    def statement(self, key, model, rules, answer):
        stated = super().statement(key, model, rules, answer)
        if not rules.hide:
            return stated
        return stated.model_copy(update={"inputs": self.behind(stated.inputs, answer.salt)})

    def digest(self, salt, tensor):
        return hashlib.sha256(bytes.fromhex(salt) + repr(tensor.integers).encode()).hexdigest()


class HidesWithoutSalt(HidingVerifier):
    """The same input has the same digest each time, so that a guess can be tried."""

    def digest(self, _, tensor):
        return hashlib.sha256(repr(tensor.integers).encode()).hexdigest()


class UnboundBackend(HonestBackend):
    """Contexts are not bound: one that is asked for is refused."""

    capabilities = HonestBackend.capabilities.model_copy(update={"binds_context": False, "batch": False})

    def prove(self, circuit, opening, requests, job):
        if any(any(request.context) for request in requests):
            raise ConfigError("this mock does not bind contexts")
        return super().prove(circuit, opening, requests, job)
