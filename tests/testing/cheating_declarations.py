"""Backends that declare what is not so, and plugins that do not keep the form."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from cheats import HONEST, caught_by
from honest import HonestBackend, HonestVerifier
from honest_variants import (
    CommittingBackend,
    HidesWithoutSalt,
    HidingBackend,
    IgnoresOwnCommitment,
    IgnoresProvider,
)
from pydantic import ConfigDict, Field

from balance_core import contracts
from balance_core.errors import ConfigError
from balance_core.records import Circuit, VerifyingKey
from balance_core.settings import Settings


def declares(**changes: Any) -> Any:
    return HONEST.model_copy(update=changes)


class AllowsLot(HonestVerifier):
    """The other half of a backend whose keys hold one part more."""

    def read_key(self, key):
        return super().read_key(VerifyingKey(key.backend, {n: p for n, p in key.parts.items() if n != "lot"}))


@caught_by("capability_deterministic", "circuit_is_reproduced_from_its_settings", partner=AllowsLot)
class NotDeterministic(HonestBackend):
    """The key holds a number drawn by lot."""

    def key_parts(self, model):
        return {**super().key_parts(model), "lot": uuid.uuid4().bytes}


@caught_by("circuit_is_reproduced_from_its_settings")
class ForgetsChoice(HonestBackend):
    """What the samples decided is not among the circuit's settings."""

    def setup(self, model, samples, job):
        chosen = self.settings if samples is None else self.settings.model_copy(update={"bits": 10})
        circuit = HonestBackend(chosen).setup(model, samples, job)
        return circuit.model_copy(update={"settings": self.settings.model_dump(mode="json")})


@caught_by("capability_batch")
class BatchUndeclared(HonestBackend):
    """Two requests are proven, and the second one is dropped without a word."""

    capabilities = declares(batch=False)

    def prove(self, circuit, opening, requests, job):
        if not requests:
            raise ConfigError("nothing to prove")
        return super().prove(circuit, opening, requests[:1], job)


@caught_by("capability_batch")
class BatchDropped(HonestBackend):
    """A batch is declared, and one request of it is proven."""

    def prove(self, circuit, opening, requests, job):
        return super().prove(circuit, opening, requests[:1], job)


@caught_by("capability_binds_context")
class ContextUndeclared(HonestBackend):
    """Contexts are stated that are declared not to be bound."""

    capabilities = declares(binds_context=False)


@caught_by("capability_transparent_setup")
class TransparencyUndeclared(HonestBackend):
    """The key calls the setup transparent, and the backend does not."""

    capabilities = declares(transparent_setup=False)


@caught_by("capability_sound")
class SoundWithoutBits(HonestBackend):
    """Soundness is declared, of no strength."""

    capabilities = declares(sound=True)


@caught_by("capability_sound")
class VerifierCallsItselfSound(HonestVerifier):
    """The backend says that it proves nothing, and its verifier that it does."""

    sound = True


@caught_by("capability_zero_knowledge")
class NotZeroKnowledge(HonestBackend):
    """Proofs are said to tell nothing, and are the same each time."""

    capabilities = declares(zero_knowledge=True)


@caught_by("capability_private_weights")
class WeightsInKey(HonestBackend):
    """Weights are said to be private, and stand in the key."""

    capabilities = declares(private_weights=True)


@caught_by("capability_private_input", "private_input_is_opened_by_who_knows_it", private_settings={"bits": 11})
class InputsStated(HonestBackend):
    """Inputs are said to be private, and stand in the statement."""

    capabilities = declares(private_input=True)


@caught_by("answers_are_the_models")
class AnswersDoubled(HonestBackend):
    """Another model is proven than the one that was given."""

    def key_parts(self, model):
        proto = model.proto()
        for tensor in proto.graph.initializer:
            if tensor.name == "b_2":
                tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) + 1).tobytes()
        return {**super().key_parts(model), "model": proto.SerializeToString()}


@caught_by("circuit_says_what_it_is_of")
class NamesAnotherModel(HonestBackend):
    """The circuit gives another model's identity."""

    def setup(self, model, samples, job):
        circuit: Circuit = super().setup(model, samples, job)
        return circuit.model_copy(update={"model_id": "0" * 64})


# Cheats that need a mock of another kind

caught_by("wrong_commitment_is_refused", "proof_of_another_model_is_refused", partner=CommittingBackend)(
    IgnoresOwnCommitment
)
caught_by("wrong_commitment_is_refused", partner=CommittingBackend)(IgnoresProvider)
caught_by(
    "capability_private_input",
    "private_input_is_opened_by_who_knows_it",
    partner=HidingBackend,
    private_settings={"hide": True},
)(HidesWithoutSalt)


# Plugins that do not keep the form


class Undescribed(Settings):
    bits: int = 12


@caught_by("settings_are_described")
class HasUndescribedSettings(HonestBackend):
    """A setting without a word on what it does."""

    settings_class = Undescribed


class Open(Settings):
    model_config = ConfigDict(extra="ignore")
    bits: int = Field(default=12, description="binary digits behind the point")


@caught_by("settings_are_closed")
class HasOpenSettings(HonestBackend):
    """A misspelt setting is ignored."""

    settings_class = Open


class Thawed(Settings):
    model_config = ConfigDict(frozen=False)
    bits: int = Field(default=12, description="binary digits behind the point")


@caught_by("settings_are_frozen")
class HasChangingSettings(HonestBackend):
    """Settings that change under way."""

    settings_class = Thawed


@caught_by("it_says_which_contracts_it_speaks")
class SpeaksAnyVersion(HonestBackend):
    """The version is whatever the core happens to have, as a text."""

    api_version = str(contracts.API_VERSION)


@caught_by("it_is_described")
class SaysNothing(HonestBackend):
    __doc__ = None
