"""The base of backends that prove the integer model: all that is the same, whatever the proof system.

A proof system adds four things: what a structure costs, keys, a commitment to the weights where the key does not bind
them, and proofs of integers. The integer model comes from the model itself, from the recipe in the settings, or from
calibration; the circuit's settings then hold its recipe. `docs/plugin-authors.md` has an example.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.contracts import ProofBackend, StatesInputs
from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
from balance_core.integer.interface import STRUCTURE_PART, Interface, structure_bytes
from balance_core.integer.obtaining import attempted, known, obtained
from balance_core.integer.settings import ProvingSettings
from balance_core.records import Circuit, Commitment, ModelCommitment, Opening, Proof, SetupTrust, VerifyingKey
from balance_core.stages import NodeProblem, Support

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from balance_core.contracts import Batch, Job, Request, Samples, Verifier
    from balance_core.integer.model import IntegerModel
    from balance_core.model import Model
    from balance_core.records import Tensor

INTEGER_PART = "integer"
"""The integer model with its weights: proving part of a circuit whose key binds them, else blob of the opening."""
COMMITMENT_PART = "commitment"
"""Blob of an opening: the record of the commitment that it opens."""

_EXECUTING = ("balance_core.integer.encoding", "balance_core.model.integers")
_MODULES = {
    "check": ("balance_core.integer.calibration",),
    "setup": ("balance_core.integer.calibration", "balance_core.integer.encoding"),
    "commit": ("balance_core.integer.calibration", "balance_core.integer.encoding"),
    "execute": _EXECUTING,
    "prove": _EXECUTING,
}
"""What a worker imports while it waits for its stage."""


@dataclass(frozen=True)
class Keys:
    """What a proof system makes of a structure: parts of the verifying key, what proving needs, and the trust."""

    key: Mapping[str, bytes]
    setup_trust: SetupTrust
    proving: Mapping[str, bytes | Path] = field(default_factory=dict)
    """Files lie in the job's scratch folder; they are handed over."""
    facts: Mapping[str, int | float | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class IntegerRequest:
    """One request as integers: the context of 32 bytes, and one int64 array of the model's shape for each input."""

    context: bytes
    inputs: tuple[np.ndarray, ...]
    """In the order of `Interface.inputs`, each integer within its interval."""
    blind: bytes | None = None
    """32 secret bytes that hide the inputs, under settings that make them private; else None."""

    def batch(self, model: IntegerModel) -> dict[str, np.ndarray]:
        """Return the inputs as `execute_integers` takes them."""
        return {op.label: array[None] for (_, op), array in zip(model.inputs, self.inputs, strict=True)}


class IntegerProofBackend(ProofBackend, StatesInputs):
    """A backend that proves what the integer model computes, bit for bit.

    The verifying key holds the structure as the part `structure`, beside the parts that the proof system adds; the
    weights are bound by the key, or by the model commitment of a `CommittingProofBackend`. Nothing that depends on
    weights that the key does not bind is ever put into the circuit.
    """

    name: ClassVar[str]
    """The backend's name, as its entry points have it."""
    settings_class = ProvingSettings
    settings: ProvingSettings
    answers_in_process = True

    @property
    def key_binds_weights(self) -> bool:
        """Whether the verifying key binds the weights; only a `CommittingProofBackend` may say no."""
        return True

    @classmethod
    @override
    def warm_up(cls, stage: str) -> None:
        for module in _MODULES.get(stage, ()):
            import_module(module)

    # What a proof system supplies

    @abstractmethod
    def estimate(self, structure: IntegerModel) -> Support:
        """Say what the structure costs, and which of its nodes cannot be proven; cheap and without side effects.

        `check` asks it of a structure of the right shapes and, unless the settings hold `bits` or a recipe, 8 bits.
        """

    @abstractmethod
    def make_keys(self, integer: IntegerModel, job: Job) -> Keys:
        """Make the keys of an integer model, which has its weights if the key binds them, and else no weights.

        Labels of nodes (for messages) must not change the key.
        """

    @abstractmethod
    def prove_integers(
        self, circuit: Circuit, opening: Opening, integer: IntegerModel, requests: Sequence[IntegerRequest], job: Job
    ) -> bytes:
        """Prove the answers to the requests (exactly one, without the `batch` capability); return the proof's bytes.

        `integer` has its weights. What is returned is verified before it leaves.
        """

    @abstractmethod
    def make_verifier(self) -> Verifier:
        """Return the verifier of this backend's proofs."""

    # What is the same for all

    @override
    def check(self, model: Model) -> Support:
        try:
            structure = attempted(model, self.settings)
        except UnsupportedModel as error:
            return Support(problems=tuple(NodeProblem(**issue._asdict()) for issue in error.issues))
        return self.estimate(structure)

    @override
    def setup(self, model: Model, samples: Samples | None, job: Job) -> Circuit:
        job.progress("lowering to integers")
        integer, settings, facts = obtained(model, samples, self.settings)
        self._refuse(integer)
        keys = self.make_keys(integer if self.key_binds_weights else integer.structure_only(), job)
        key = {**keys.key, STRUCTURE_PART: structure_bytes(integer)}
        proving = dict(keys.proving)
        if self.key_binds_weights:
            from balance_core.integer.encoding import dumps

            proving[INTEGER_PART] = dumps(integer)
        return Circuit(
            backend=self.name,
            backend_version=self.version,
            model_id=model.model_id,
            settings=settings.model_dump(mode="json"),
            inputs=model.inputs,
            outputs=model.outputs,
            setup_trust=keys.setup_trust,
            key=_published(job, key),
            proving=_published(job, proving),
            facts={**facts, **keys.facts},
        )

    @override
    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        from balance_core.model.integers import run

        integer = self.integer_model(circuit, opening, job)
        job.progress("running the integer model")
        outputs = run(integer, inputs).outputs
        ports = Interface.of(integer).outputs
        count = len(next(iter(outputs.values())))
        return [
            tuple(port.tensor(outputs[port.name][sample].reshape(-1).tolist()) for port in ports)
            for sample in range(count)
        ]

    @override
    def stated(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        from balance_core.integer.executor import checked_integers
        from balance_core.model.integers import quantised

        integer = self.integer_model(circuit, opening, job)
        given = checked_integers(integer, quantised(integer, inputs))
        ports = [(place, port) for (place, _), port in zip(integer.inputs, Interface.of(integer).inputs, strict=True)]
        count = len(next(iter(given.values())))
        return [
            tuple(port.tensor(given[place][sample].reshape(-1).tolist()) for place, port in ports)
            for sample in range(count)
        ]

    @override
    def prove(self, circuit: Circuit, opening: Opening, requests: Sequence[Request], job: Job) -> Proof:
        if not requests or (len(requests) != 1 and not self.capabilities.batch):
            allowed = "at least one request" if self.capabilities.batch else "exactly one request"
            raise ConfigError(f"{self.name} answers {allowed} with a proof, not {len(requests)}")
        from balance_core.integer.checking import check_proof

        integer = self.integer_model(circuit, opening, job)
        promises = self.promises
        given = [_integers(integer, request, hide=promises.private_input) for request in requests]
        proof = Proof(self.name, self.prove_integers(circuit, opening, integer, given, job))
        job.progress("verifying")
        key = VerifyingKey(self.name, {name: job.path(cid).read_bytes() for name, cid in circuit.key.items()})
        asked = given if promises.binds_context else [replace(request, context=bytes(32)) for request in given]
        verifier, commitment = self.make_verifier(), _commitment(opening, job)
        check_proof(verifier, key, commitment, proof, integer=integer, requests=asked)
        return proof

    def integer_model(self, circuit: Circuit, opening: Opening, job: Job) -> IntegerModel:
        """Return the integer model with its weights, as the provider keeps it."""
        address = circuit.proving.get(INTEGER_PART) or (opening or Opening()).blobs.get(INTEGER_PART)
        if address is None:
            raise ConfigError(
                "neither circuit nor opening holds the weights",
                hint="prove in the workspace in which the model was set up",
            )
        return _loaded(address, job.path(address))

    def _refuse(self, integer: IntegerModel) -> None:
        problems = self.estimate(integer.structure_only()).problems
        if problems:
            issues = [NodeIssue(p.node, p.operator, p.reason, p.mend) for p in problems]
            raise UnsupportedModel(f"{self.name} cannot prove this model", issues=issues)


class CommittingProofBackend(IntegerProofBackend):
    """A backend that proves the integer model and commits to weights which its verifying key does not bind.

    Then the circuit belongs to the structure alone: every model whose weights keep to the declared ranges fits it.
    """

    @property
    @override
    def key_binds_weights(self) -> bool:
        """Whether the verifying key binds the weights, under these settings."""
        return False

    @abstractmethod
    def commit_weights(
        self, circuit: Circuit, integer: IntegerModel, provider: str, job: Job
    ) -> tuple[bytes, Mapping[str, bytes | Path]]:
        """Return the public commitment to the weights, and secret blobs of its opening.

        The commitment shows that it was made for this provider's key and this circuit.
        """

    @override
    def commit(self, circuit: Circuit, model: Model, provider: str, job: Job) -> Commitment:
        if self.key_binds_weights:
            return Commitment()
        from balance_core.integer.encoding import dumps

        integer = self._of_circuit(circuit, model, job)
        data, secret = self.commit_weights(circuit, integer, provider, job)
        public = ModelCommitment(backend=self.name, provider=provider, data=data.hex())
        blobs = _published(job, {**secret, INTEGER_PART: dumps(integer), COMMITMENT_PART: public.to_json()})
        return Commitment(public=public, opening=Opening(blobs=blobs))

    def _of_circuit(self, circuit: Circuit, model: Model, job: Job) -> IntegerModel:
        """Return a model's integers under an existing circuit, whose structure they have."""
        parsed = self.settings_class.parse(circuit.settings, owner=self.name)
        integer = known(model, parsed)
        if integer is None:
            raise ConfigError("the circuit's settings hold no recipe", hint="set the model up again")
        if structure_bytes(integer) != job.path(circuit.key[STRUCTURE_PART]).read_bytes():
            raise ConfigError("the model has another structure than the circuit", hint="set the model up again")
        return integer


def _commitment(opening: Opening, job: Job) -> ModelCommitment | None:
    """Return the commitment that an opening opens; None where the key binds the weights."""
    address = (opening or Opening()).blobs.get(COMMITMENT_PART)
    return None if address is None else ModelCommitment.from_json(job.path(address).read_bytes())


def _integers(integer: IntegerModel, request: Request, *, hide: bool) -> IntegerRequest:
    from balance_core.integer.executor import checked_integers
    from balance_core.model.integers import quantised

    if len(request.context) != 32:
        raise ConfigError(f"a context has 32 bytes, not {len(request.context)}")
    batch = quantised(integer, {name: array[None] for name, array in request.inputs.items()})
    given = checked_integers(integer, batch)
    blind = request.blind or os.urandom(32)
    if len(blind) != 32:
        raise ConfigError(f"what hides private inputs has 32 bytes, not {len(blind)}")
    inputs = tuple(given[place][0] for place, _ in integer.inputs)
    return IntegerRequest(request.context, inputs, blind if hide else None)


@lru_cache(maxsize=2)
def _loaded(address: str, path: Path) -> IntegerModel:
    """Read an integer model; a process that answers one request after another reads it once."""
    from balance_core.integer.encoding import loads

    del address  # it names the content, whatever lies at the path by now
    return loads(path.read_bytes())


def _published(job: Job, parts: Mapping[str, bytes | Path]) -> dict[str, str]:
    published = {}
    for name, content in parts.items():
        path = job.scratch / f"{name}.part"
        if isinstance(content, Path):
            path = content
        else:
            path.write_bytes(content)
        published[name] = job.publish(path)
    return published
