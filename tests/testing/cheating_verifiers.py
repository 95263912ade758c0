"""Verifiers that do not look closely enough."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from cheats import caught_by
from honest import HonestBackend, HonestVerifier, SealedAnswers, evaluate, seal, tensors

from balance_core.errors import InvalidProof
from balance_core.records import Proof, SetupTrust, Statement, Trust, VerifyingKey
from balance_core.testing.attacks import MERSENNE_31


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
