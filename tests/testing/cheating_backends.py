"""Backends and verifiers that cheat, each in one way, and the cases of the kit that must find them out.

Every one is the honest mock with one thing done otherwise. `caught_by` names the exact set of cases that fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from honest import HonestBackend, HonestVerifier, SealedAnswers, evaluate, seal, tensors
from honest_variants import (
    CommittingBackend,
    HidesWithoutSalt,
    HidingBackend,
    IgnoresOwnCommitment,
    IgnoresProvider,
)
from pydantic import ConfigDict, Field

from balance_core import contracts
from balance_core.errors import ConfigError, InvalidProof, StageError
from balance_core.records import Circuit, Proof, SetupTrust, Statement, Trust, VerifyingKey
from balance_core.settings import Settings
from balance_core.stages import NodeProblem, Support
from balance_core.testing.attacks import MERSENNE_31

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.contracts import Plugin

HONEST = HonestBackend.capabilities


@dataclass(frozen=True)
class Cheat:
    name: str
    caught: frozenset[str]
    backend: type[HonestBackend] = HonestBackend
    verifier: type[HonestVerifier] = HonestVerifier
    hooks: Mapping[str, Any] = field(default_factory=dict)


CHEATS: list[Cheat] = []


def caught_by(*cases: str, partner: type[Plugin] | None = None, **hooks: Any) -> Any:
    """Enter a cheating class, and the other half that it works with, into the list."""

    def enter(cheat: type[Any]) -> type[Any]:
        halves = [half for half in (cheat, partner) if half is not None]
        parts: dict[str, Any] = {
            "backend" if issubclass(half, HonestBackend) else "verifier": half for half in halves
        }
        CHEATS.append(Cheat(cheat.__name__, frozenset(cases), hooks=hooks, **parts))
        return cheat

    return enter


# Verifiers that do not look closely enough


def zeros(key, rules):
    def values(interface):
        return tensors(interface, [(0,) * int(np.prod(shape)) for _, shape in interface], rules.bits)

    context = "00" * 32
    return Statement(
        circuit_id=key.circuit_id, context=context, inputs=values(rules.inputs), outputs=values(rules.outputs)
    )


@caught_by(
    "changed_byte_is_refused",
    "changed_field_is_refused",
    "changed_public_value_is_refused",
    "empty_proof_is_refused",
    "fresh_process_reaches_the_same_verdict",
    "garbage_is_refused",
    "one_public_value_more_or_fewer_is_refused",
    "oversized_proof_is_refused",
    "permuted_public_values_are_refused",
    "proof_of_another_model_is_refused",
    "proofs_of_two_requests_do_not_mix",
    "threads_do_not_disturb_each_other",
    "wrong_key_is_refused",
    "wrong_length_is_refused",
)
class AcceptsEverything(HonestVerifier):
    """States what it can read, and zeros where it can read nothing."""

    def verify(self, key, commitment, proof):
        self.check_commitment(commitment)
        _, rules = self.read_key(key)
        with contextlib.suppress(InvalidProof, ValueError):
            answers = self.read(proof).answers
            return tuple(
                Statement(
                    circuit_id=key.circuit_id,
                    context=answer.context,
                    inputs=tensors(rules.inputs, answer.inputs, rules.bits),
                    outputs=tensors(rules.outputs, answer.outputs, rules.bits),
                )
                for answer in answers
            )
        return (zeros(key, rules),)


class SealsOtherwise(HonestBackend):
    """The other half of a verifier that seals other things: its proofs are sealed as that verifier expects."""

    def proof(self, circuit, answers):
        sealed = SealedAnswers(answers=tuple(answers), seal=seal(*self.sealed(circuit, answers)))
        return Proof("honest", sealed.to_json())


class SealsNoOutputs(SealsOtherwise):
    """Its proofs seal no output."""

    def sealed(self, circuit, answers):
        return circuit.circuit_id, [answer.model_copy(update={"outputs": ()}) for answer in answers]


class SealsNoCircuit(SealsOtherwise):
    """Its proofs are sealed under no circuit."""

    def sealed(self, _, answers):
        return "", answers


class SealsNoContext(SealsOtherwise):
    """Its proofs seal no context."""

    def sealed(self, circuit, answers):
        return circuit.circuit_id, [answer.model_copy(update={"context": "00" * 32}) for answer in answers]


class SealsSorted(SealsOtherwise):
    """Its proofs seal the inputs as a set."""

    def sealed(self, circuit, answers):
        ordered = [
            answer.model_copy(update={"inputs": tuple(tuple(sorted(row)) for row in answer.inputs)})
            for answer in answers
        ]
        return circuit.circuit_id, ordered


@caught_by(
    "changed_byte_is_refused", "changed_field_is_refused", "changed_public_value_is_refused", partner=SealsNoOutputs
)
class IgnoresOnePublicValue(HonestVerifier):
    """The last output is neither sealed nor computed again."""

    def check_seal(self, key, sealed):
        kept = [answer.model_copy(update={"outputs": ()}) for answer in sealed.answers]
        if not sealed.answers or sealed.seal != seal(key.circuit_id, kept):
            raise InvalidProof("the seal does not fit")

    def check_answer(self, model, rules, answer):
        expected = evaluate(model, rules, answer.inputs)
        if [values[:-1] for values in expected] != [values[:-1] for values in answer.outputs]:
            raise InvalidProof("the model answers otherwise")


@caught_by(
    "altered_key_never_passes_for_the_original",
    "proof_of_another_model_is_refused",
    "wrong_key_is_refused",
    partner=SealsNoCircuit,
)
class IgnoresKey(HonestVerifier):
    """A whole proof is taken for one of any circuit."""

    def check_seal(self, _, sealed):
        if not sealed.answers or sealed.seal != seal("", sealed.answers):
            raise InvalidProof("the seal does not fit the answers")

    def check_answer(self, model, rules, answer):
        pass


@caught_by("altered_key_never_passes_for_the_original")
class ForgetsPartOfKey(HonestVerifier):
    """The circuit that a statement names is that of a key without unknown parts."""

    def verify(self, key, commitment, proof):
        known = {name: part for name, part in key.parts.items() if name in {"model", "rules"}}
        return super().verify(VerifyingKey(key.backend, known), commitment, proof)


@caught_by("wrong_commitment_is_refused")
class IgnoresForeignCommitment(HonestVerifier):
    """A commitment is not looked at, because the key binds the weights anyway."""

    def check_commitment(self, commitment):
        pass


@caught_by(
    "changed_byte_is_refused",
    "changed_public_value_is_refused",
    "proofs_of_two_requests_do_not_mix",
    "threads_do_not_disturb_each_other",
    partner=SealsNoContext,
)
class LeavesContextUnsealed(HonestVerifier):
    """`binds_context` is declared, and the context can be exchanged."""

    def check_seal(self, key, sealed):
        blank = [answer.model_copy(update={"context": "00" * 32}) for answer in sealed.answers]
        if not sealed.answers or sealed.seal != seal(key.circuit_id, blank):
            raise InvalidProof("the seal does not fit")


@caught_by("changed_public_value_is_refused")
class ReducesByModulus(HonestVerifier):
    """Public values count modulo the order of a field, so that a value has many names."""

    def check_seal(self, key, sealed):
        order = MERSENNE_31

        def reduced(values):
            return tuple(tuple((v + order // 2) % order - order // 2 for v in row) for row in values)

        answers = [
            answer.model_copy(update={"inputs": reduced(answer.inputs), "outputs": reduced(answer.outputs)})
            for answer in sealed.answers
        ]
        super().check_seal(key, sealed.model_copy(update={"answers": tuple(answers)}))

    def check_answer(self, model, rules, answer):
        pass


@caught_by("changed_field_is_refused", "permuted_public_values_are_refused", partner=SealsSorted)
class ForgetsOrder(HonestVerifier):
    """The inputs are checked as a set."""

    def check_seal(self, key, sealed):
        ordered = [
            answer.model_copy(update={"inputs": tuple(tuple(sorted(row)) for row in answer.inputs)})
            for answer in sealed.answers
        ]
        if not sealed.answers or sealed.seal != seal(key.circuit_id, ordered):
            raise InvalidProof("the seal does not fit")

    def check_answer(self, model, rules, answer):
        pass


@caught_by("changed_field_is_refused", "one_public_value_more_or_fewer_is_refused")
class IgnoresSurplusValues(HonestVerifier):
    """Values beyond those expected are dropped before anything is checked."""

    def check_seal(self, key, sealed):
        _, rules = self.read_key(key)
        answers = [answer.model_copy(update={"inputs": self.cut(rules, answer)}) for answer in sealed.answers]
        super().check_seal(key, sealed.model_copy(update={"answers": tuple(answers)}))

    def statement(self, key, model, rules, answer):
        return super().statement(key, model, rules, answer.model_copy(update={"inputs": self.cut(rules, answer)}))

    def cut(self, rules, answer):
        sizes = [int(np.prod(shape)) for _, shape in rules.inputs]
        return tuple(row[:size] for row, size in zip(answer.inputs, sizes, strict=False))


@caught_by("oversized_proof_is_refused", "wrong_length_is_refused")
class IgnoresTrailingBytes(HonestVerifier):
    """What follows the proof is not looked at."""

    def read(self, proof):
        return super().read(Proof(proof.backend, proof.data.rstrip(b"\0 \n")))


@caught_by("oversized_proof_is_refused", seconds_to_refuse=1)
class ReadsWithoutLimit(HonestVerifier):
    """Every byte of a proof is pondered before its size is."""

    def read(self, proof):
        if len(proof.data) > 2**24:
            time.sleep(1.1)
        return super().read(proof)


@caught_by("changed_byte_is_refused", "changed_field_is_refused", "garbage_is_refused")
class CrashesOnGarbage(HonestVerifier):
    """A field that is not there comes out as a KeyError."""

    def read(self, proof):
        with contextlib.suppress(ValueError, RecursionError):
            for answer in json.loads(proof.data)["answers"]:
                answer["context"]
        return super().read(proof)


@caught_by(
    "changed_byte_is_refused",
    "changed_field_is_refused",
    "changed_public_value_is_refused",
    "garbage_is_refused",
    "permuted_public_values_are_refused",
    "threads_do_not_disturb_each_other",
)
class RemembersVerdicts(HonestVerifier):
    """A verdict is kept under the circuit and the length of the proof."""

    def verify(self, key, commitment, proof):
        self.check_commitment(commitment)
        known = self.__dict__.setdefault("known", {})
        name = (key.circuit_id, len(proof.data))
        if name not in known:
            known[name] = super().verify(key, commitment, proof)
        return known[name]


@caught_by("setup_trust_is_told_by_the_key")
class TrustsAnyKey(HonestVerifier):
    """The setup is transparent, whatever the key holds."""

    def setup_trust(self, _):
        return SetupTrust(trust=Trust.TRANSPARENT)


@caught_by("verifying_leaves_no_trace")
class KeepsDiary(HonestVerifier):
    """Every verdict is written down at home."""

    def verify(self, key, commitment, proof):
        with contextlib.suppress(OSError):
            (Path.home() / "diary").write_text("verified")
        return super().verify(key, commitment, proof)


@caught_by("verifying_leaves_no_trace")
class AsksAround(HonestVerifier):
    """Somebody is asked about each proof, and nothing is said if he does not answer."""

    def verify(self, key, commitment, proof):
        with contextlib.suppress(OSError), socket.socket() as line:
            line.connect(("127.0.0.1", 9))
        return super().verify(key, commitment, proof)


REMEMBERED: dict[str, Any] = {}


class Remembers(HonestBackend):
    """The other half of a verifier that believes what it was told before."""

    def proof(self, circuit, answers):
        made = super().proof(circuit, answers)
        REMEMBERED[circuit.circuit_id] = made
        return made


@caught_by("fresh_process_reaches_the_same_verdict", partner=Remembers)
class TrustsMemory(HonestVerifier):
    """Only circuits are believed that the prover has told of, in the same process."""

    def verify(self, key, commitment, proof):
        if key.circuit_id not in REMEMBERED:
            raise InvalidProof("unheard of")
        return super().verify(key, commitment, proof)


class LeavesFile(HonestBackend):
    """The other half of a verifier that believes a file."""

    def proof(self, circuit, answers):
        inner = super().proof(circuit, answers)
        return Proof("honest", f"{self.note}\n".encode() + inner.data)

    def read_key(self, circuit, opening, job):
        (job.scratch / "note").write_text("believe me")
        self.note = job.path(job.publish(job.scratch / "note"))
        return super().read_key(circuit, opening, job)


@caught_by("fresh_process_reaches_the_same_verdict", partner=LeavesFile)
class TrustsFile(HonestVerifier):
    """A proof counts if the file that it names is on this machine."""

    def read(self, proof):
        path, _, rest = proof.data.partition(b"\n")
        if b"\0" in path[:4000] or not os.path.exists(path[:4000]):  # noqa: PTH110 - a path of any bytes
            raise InvalidProof("no such file")
        return super().read(Proof(proof.backend, rest))


# Backends whose stages are not what they say


@caught_by("stages_write_to_their_scratch_folder_only")
class WritesToHome(HonestBackend):
    """A cache is kept at home."""

    def key_parts(self, model):
        (Path.home() / ".mock-cache").write_bytes(model.onnx)
        return super().key_parts(model)


@caught_by("stages_write_to_their_scratch_folder_only")
class WritesToWorkingFolder(HonestBackend):
    """A file is written to wherever the user happens to be."""

    def key_parts(self, model):
        Path("settings.json").write_text("{}")
        return super().key_parts(model)


@caught_by("stages_write_to_their_scratch_folder_only")
class ChangesPublishedContent(HonestBackend):
    """Content that was published is touched again."""

    def read_key(self, circuit, opening, job):
        path = job.path(circuit.key["model"])
        path.chmod(0o600)
        return super().read_key(circuit, opening, job)


@caught_by("stages_need_no_network")
class UsesNetwork(HonestBackend):
    """Each setup is told to somebody, and nothing is said if he does not answer."""

    def key_parts(self, model):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        return super().key_parts(model)


@caught_by("check_says_no_exactly_when_setup_refuses", "unsupported_nodes_are_named")
class CheckSaysYes(HonestBackend):
    """`check` finds nothing wrong with any model, and setup does."""

    def setup(self, model, samples, job):
        if not super().check(model).ok:
            raise InvalidProof("no")
        return super().setup(model, samples, job)

    def check(self, _):
        return Support()


@caught_by("check_says_no_exactly_when_setup_refuses")
class CheckSaysNo(HonestBackend):
    """`check` refuses two inputs, which setup takes."""

    def check(self, model):
        if len(model.inputs) > 1:
            problem = NodeProblem(node=model.proto().graph.node[0].name, operator="Add", reason="two inputs")
            return Support(problems=(problem,))
        return super().check(model)

    def setup(self, model, samples, job):
        return HonestBackend(self.settings).setup(model, samples, job)


@caught_by("check_has_no_side_effects")
class CheckLeavesFile(HonestBackend):
    """`check` writes a report."""

    def check(self, model):
        with contextlib.suppress(OSError):
            Path("report.txt").write_text(model.name)
        return super().check(model)

    def setup(self, model, samples, job):
        return HonestBackend(self.settings).setup(model, samples, job)


@caught_by("execute_equals_what_is_proven", "valid_proof_states_what_was_proven")
class ExecutesOtherwise(HonestBackend):
    """What `execute` answers is finer by one unit than what is proven."""

    def execute(self, circuit, opening, inputs, job):
        return [
            tuple(tensor.model_copy(update={"integers": tuple(v + 1 for v in tensor.integers)}) for tensor in answer)
            for answer in super().execute(circuit, opening, inputs, job)
        ]


@caught_by("answers_are_the_models", "execute_equals_what_is_proven")
class ExecutesBatchesOtherwise(HonestBackend):
    """`execute` answers the first sample of a batch, and repeats itself."""

    def execute(self, circuit, opening, inputs, job):
        answers = super().execute(circuit, opening, inputs, job)
        return [answers[0]] * len(answers)


@caught_by("inputs_are_not_mixed_up")
class TakesInputsAsTheyCome(HonestBackend):
    """Inputs are taken in the order of the request, whatever their names."""

    def grid(self, rules, inputs):
        return super().grid(rules, dict(zip([name for name, _ in rules.inputs], inputs.values(), strict=True)))


@caught_by("cancelled_stage_ends")
class CannotBeStopped(HonestBackend):
    """Being told to stop is taken as noise."""

    def prove(self, circuit, opening, requests, job):
        told = job.progress

        def progress(message, fraction=None):
            with contextlib.suppress(StageError):
                told(message, fraction)

        job.progress = progress
        return super().prove(circuit, opening, requests, job)


MODELS: dict[str, str] = {}


@caught_by("fresh_process_proves")
class KeepsStateInProcess(HonestBackend):
    """Where the key is, the class remembers."""

    def key_parts(self, model):
        parts = super().key_parts(model)
        MODELS.update(dict.fromkeys(parts, "here"))
        return parts

    def read_key(self, circuit, opening, job):
        if not MODELS:
            raise ConfigError("set the model up first")
        return super().read_key(circuit, opening, job)


# Backends that declare what is not so


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
