"""Backends that cheat, each in one way, and declare themselves sound; `CHEATS` has words of why each is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from compare_mock import UNIT, MockBackend, MockVerifier, outputs, tensors

from balance_core.errors import InvalidProof
from balance_core.records import Proof, Statement, Tensor

CHEATS = {}
VERIFIERS = {}


def refused(words, verifier=MockVerifier):
    def enter(kind):
        kind.name = kind.__name__.lower()
        CHEATS[kind.name] = words
        VERIFIERS[kind.name] = verifier
        return kind

    return enter


class BelievesOutputs(MockVerifier):
    """The verifier that a cheat needs: it looks at no output."""

    def look_closer(self, key, said):
        pass


@refused("does not depend on the input", BelievesOutputs)
class ConstantOutputs(MockBackend):
    """Proves one and the same answer, whatever is asked: the fastest prover there is."""

    def answer(self, model, _sample):
        return tuple(
            Tensor(name=spec.name, shape=spec.shape, integers=(UNIT,) * spec.size, denominator=UNIT)
            for spec in model.outputs
        )


@refused("does not depend on the input", BelievesOutputs)
class FoldedGraph(MockBackend):
    """Folds the graph at setup, with the first sample for a constant, and proves that the constant is itself."""

    def setup(self, model, samples, job):
        self.folded = tensors(model.inputs, {name: np.asarray(array[0]) for name, array in samples.inputs.items()})
        (job.scratch / "folded").write_bytes(b"\n".join(tensor.to_json() for tensor in outputs(model, self.folded)))
        circuit = super().setup(model, samples, job)
        return circuit.model_copy(update={"proving": {"folded": job.publish(job.scratch / "folded")}})

    def model(self, circuit, job):
        self.constant = tuple(
            Tensor.from_json(line) for line in job.path(circuit.proving["folded"]).read_bytes().split(b"\n")
        )
        return super().model(circuit, job)

    def answer(self, _model, _sample):
        return self.constant


@refused("proved another answer", BelievesOutputs)
class FalseOutputs(MockBackend):
    """Executes honestly, so that it looks faithful, and proves something else."""

    def statement(self, model, circuit, request):
        honest = super().statement(model, circuit, request)
        first = honest.outputs[0]
        other = first.model_copy(update={"integers": (first.integers[0] + 1, *first.integers[1:])})
        return honest.model_copy(update={"outputs": (other, *honest.outputs[1:])})


class VerifiesAnything(MockVerifier):
    """Reads what a proof says, as well as it can, and accepts it."""

    def verify(self, key, _commitment, proof):
        try:
            return (self.said(proof),)
        except InvalidProof:
            model = self.model(key)
            zeros = tensors(model.inputs, {spec.name: np.zeros(spec.shape) for spec in model.inputs})
            return (
                Statement(circuit_id=key.circuit_id, context="00" * 32, inputs=zeros, outputs=outputs(model, zeros)),
            )


@refused("altered proof was not rejected", VerifiesAnything)
class AcceptsAnything(MockBackend):
    """Proves honestly; its verifier never says no."""


class VerifiesItsOwn(MockVerifier):
    """Looks the proof up in a list that the prover keeps on this machine."""

    def verify(self, key, commitment, proof):
        if not (Path(os.environ["BALANCE_HOME"]) / "made" / proof.data.hex()).exists():
            raise InvalidProof("this proof was not made here")
        return super().verify(key, commitment, Proof(proof.backend, self.kept().read_bytes()))

    def kept(self):
        return Path(os.environ["BALANCE_HOME"]) / "kept"


@refused("no other process can verify", VerifiesItsOwn)
class OnlyHere(MockBackend):
    """Its proof is a name for a file that it keeps to itself."""

    def prove(self, circuit, opening, requests, job):
        made = super().prove(circuit, opening, requests, job)
        home = Path(os.environ["BALANCE_HOME"])
        (home / "made").mkdir(exist_ok=True)
        name = made.data[:16]
        (home / "made" / name.hex()).touch()
        (home / "kept").write_bytes(made.data)
        return Proof(self.name, name)


@refused("about another input", BelievesOutputs)
class EasierInput(MockBackend):
    """Proves the right answer, for an input of zeros."""

    def statement(self, model, circuit, request):
        honest = super().statement(model, circuit, request)
        zeros = tensors(model.inputs, {spec.name: np.zeros(spec.shape) for spec in model.inputs})
        return honest.model_copy(update={"inputs": zeros})


@refused("another request", BelievesOutputs)
class Replays(MockBackend):
    """Proves under a context of its own choice: an old proof serves for a new request."""

    def statement(self, model, circuit, request):
        return super().statement(model, circuit, request).model_copy(update={"context": "11" * 32})


class SealsTheStart(MockVerifier):
    """Checks the seal, and reads over what stands behind the statement."""

    def verify(self, key, commitment, proof):
        return super().verify(key, commitment, Proof(proof.backend, proof.data.rstrip(b"\0")))


@refused("altered proof was not rejected", SealsTheStart)
class Malleable(MockBackend):
    """Has many encodings of one proof."""


class Hesitant(MockVerifier):
    sound = False


@refused("not proven", Hesitant)
class OnlySaysSound(MockBackend):
    """Declares itself sound where it is ranked; its own verifier knows better."""


class Stumbles(MockVerifier):
    """Checks honest proofs, and ends the process at any other."""

    def said(self, proof):
        try:
            return super().said(proof)
        except InvalidProof:
            os._exit(9)


@refused("stopped its verifier", Stumbles)
class Stumbling(MockBackend):
    """A stranger who sends it a broken proof takes its service down."""


@refused("another model or backend")
class OtherModel(MockBackend):
    """Sets up something else than it was given."""

    def setup(self, model, samples, job):
        return super().setup(model, samples, job).model_copy(update={"model_id": "0" * 64})
