"""The proving side: what a structure costs, keys, commitments to weights, proofs."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from balance_core.contracts import ImportsSrs, MakesTestSrs
from balance_core.errors import ConfigError
from balance_core.integer.interface import structure_bytes
from balance_core.integer.proving import CommittingProofBackend, Keys
from balance_core.srs import CURVE
from balance_core.stages import Capabilities, Estimate, NodeProblem, Support
from balance_zkml import NAME, native
from balance_zkml.settings import Halo2Settings
from balance_zkml.verifier import KEY_PART, Halo2Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from balance_core.contracts import Job
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.proving import IntegerRequest
    from balance_core.records import Circuit, Opening

PLUGIN_VERSION = "0.1.0"
OPENING_BLOB = "secret"
SRS_PART = "srs"
"""Proving part of a circuit whose reference string is a longer one, cut once."""
LOG_ROWS = "log_rows"
_NODE = re.compile(r"node (?P<place>[0-9]+) \S+: (?P<reason>.*)", re.DOTALL)


class Halo2Backend(CommittingProofBackend, MakesTestSrs, ImportsSrs):
    """Proves the integer model with halo2 over BN254; weights are private, and inputs too if the settings say so."""

    api_version = 1
    version = f"{PLUGIN_VERSION}+halo2-axiom0.5.3"
    name = NAME
    settings_class = Halo2Settings
    settings: Halo2Settings
    _prover: tuple[tuple[Circuit, Opening], native.Prover] | None = None
    """The latest circuit and opening that were proven with, and their prover."""
    capabilities = Capabilities(
        sound=True,
        zero_knowledge=True,
        private_input=True,
        private_weights=True,
        binds_context=True,
        deterministic=True,
        security_bits=100,
        proof_system="Halo2 (Plonkish, KZG commitments)",
        field="scalar field of BN254",
        security={"BN254, estimates since exTNFS": 100, "BN254, generic attacks only": 128},
        security_note="discrete logarithms and pairings on BN254: about 100 bits since exTNFS, 128 before it",
    )

    @classmethod
    @override
    def warm_up(cls, stage: str) -> None:
        super().warm_up(stage)
        native.load(prover=True)

    @property
    @override
    def promises(self) -> Capabilities:
        settings = self.settings
        private = {
            "private_weights": settings.weights == "private",
            "private_input": settings.inputs == "private",
        }
        return self.capabilities.model_copy(update=private)

    @override
    def make_verifier(self) -> Halo2Verifier:
        return Halo2Verifier()

    @property
    def _secrets(self) -> dict[str, str]:
        """What is private, as the native half takes it."""
        return {"weights": self.settings.weights, "inputs": self.settings.inputs}

    @property
    @override
    def key_binds_weights(self) -> bool:
        return self.settings.weights == "public"

    @override
    def estimate(self, structure: IntegerModel) -> Support:
        try:
            plan = native.plan(structure_bytes(structure), self._secrets)
        except ValueError as error:
            return Support(problems=(_problem(structure, str(error)),))
        estimate = Estimate(
            rows=plan.rows, log_rows=plan.k, prove_seconds=plan.seconds, memory_bytes=plan.memory_bytes
        )
        return Support(estimate=estimate)

    @override
    def make_keys(self, integer: IntegerModel, job: Job) -> Keys:
        from balance_core.integer.encoding import encode_weights
        from balance_core.srs import Parameters, cut

        native.use_threads(job.threads)
        structure = structure_bytes(integer)
        plan = native.plan(structure, self._secrets)
        stored = job.srs(CURVE, plan.k, partial(self.make_test_srs, CURVE, plan.k))
        string = stored
        if powers(stored) > plan.k:
            job.progress("cutting the reference string")
            string = job.scratch / "cut.srs"
            native.import_srs(stored, string, power=plan.k, ceremony=False)
        trust = Parameters.of_cut(cut(string)).setup_trust
        job.progress(f"making the keys of 2^{plan.k} rows")
        values = encode_weights(integer) if self.key_binds_weights else None
        key, facts = native.setup(structure, string, self._secrets, k=plan.k, values=values)
        proving: dict[str, bytes | Path] = {} if string == stored else {SRS_PART: string}
        facts |= {LOG_ROWS: plan.k, "columns": plan.columns, **self._secrets}
        return Keys({KEY_PART: key}, trust, proving=proving, facts=facts)

    @override
    def commit_weights(
        self, circuit: Circuit, integer: IntegerModel, provider: str, job: Job
    ) -> tuple[bytes, Mapping[str, bytes | Path]]:
        from balance_core.integer.encoding import encode_weights

        native.use_threads(job.threads)
        key, string = job.path(circuit.key[KEY_PART]).read_bytes(), self._string(circuit, job)
        job.progress("committing to the weights")
        made = native.commit(structure_bytes(integer), encode_weights(integer), key, string, bytes.fromhex(provider))
        return made[0], {OPENING_BLOB: made[1]}

    @override
    def prove_integers(
        self, circuit: Circuit, opening: Opening, integer: IntegerModel, requests: Sequence[IntegerRequest], job: Job
    ) -> bytes:
        native.use_threads(job.threads)
        request = requests[0]
        rows = f"2^{circuit.facts[LOG_ROWS]} rows"

        def watch(phase: str) -> None:
            doing, done = native.PHASES[phase]
            job.progress(f"{doing} of {rows}" if phase == "layout" else doing, done)

        # Whoever proves many answers in one process does so with one backend.
        if self._prover is None or self._prover[0] != (circuit, opening):
            self._prover = (circuit, opening), self._make_prover(circuit, opening, integer, job, watch)
        return self._prover[1].prove(
            request.context,
            [array.reshape(-1).tolist() for array in request.inputs],
            blind=request.blind,
            watch=watch,
        )

    def _make_prover(
        self,
        circuit: Circuit,
        opening: Opening,
        integer: IntegerModel,
        job: Job,
        watch: Callable[[str], None],
    ) -> native.Prover:
        from balance_core.integer.encoding import encode_weights

        secret = opening.blobs.get(OPENING_BLOB)
        return native.Prover(
            structure_bytes(integer),
            encode_weights(integer),
            job.path(circuit.key[KEY_PART]).read_bytes(),
            self._string(circuit, job),
            opening=None if secret is None else job.path(secret).read_bytes(),
            watch=watch,
        )

    @override
    def make_test_srs(self, curve: str, k: int, target: Path) -> None:
        if curve != CURVE:
            raise ConfigError(f"{NAME} proves over {CURVE}, not {curve}")
        native.make_test_srs(k, target)

    @override
    def import_srs(self, source: Path, target: Path, k: int | None = None) -> str | None:
        from balance_core.srs import is_powers_of_tau

        found = native.import_srs(source, target, power=k, ceremony=is_powers_of_tau(source))
        name: str | None = found["published"]
        return name

    def _string(self, circuit: Circuit, job: Job) -> Path:
        if SRS_PART in circuit.proving:
            return job.path(circuit.proving[SRS_PART])
        k = int(circuit.facts[LOG_ROWS])
        make = partial(self.make_test_srs, CURVE, k)
        return job.srs(CURVE, k, make, parameters=circuit.setup_trust.parameters)


def powers(path: Path) -> int:
    """Return the k of a raw reference string of 2^k powers."""
    with path.open("rb") as stream:
        return int.from_bytes(stream.read(4), "little")


def _problem(structure: IntegerModel, reason: str) -> NodeProblem:
    """Return a refusal of the layout, with the node that it names."""
    named = _NODE.fullmatch(reason)
    if named is None or int(named["place"]) >= len(structure.nodes):
        return NodeProblem(node="model", operator="model", reason=reason)
    node = structure.nodes[int(named["place"])]
    label = node.label or f"node {named['place']}"
    return NodeProblem(node=label, operator=node.operation.name, reason=named["reason"])
