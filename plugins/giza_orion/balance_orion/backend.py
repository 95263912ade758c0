"""The proving side: an integer model becomes a Cairo program, its run a STARK."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.errors import NodeIssue, StageOutOfMemory, ToolFailed, UnsupportedModel
from balance_core.integer.proving import IntegerProofBackend, Keys
from balance_core.records import SetupTrust, Trust
from balance_core.stages import Capabilities, Estimate, NodeProblem, Support
from balance_orion import NAME
from balance_orion.key import PROGRAM_PART, ProgramKey
from balance_orion.native import prover
from balance_orion.settings import OrionSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.contracts import Job
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.proving import IntegerRequest
    from balance_core.records import Circuit, Opening
    from balance_orion.verifier import OrionVerifier

PLAN_PART = "plan"
NOTES = (
    "not zero-knowledge: inputs are public, and the weights are public numbers of the program",
    "96 bits rest on a conjecture that is doubted near capacity; 59 are proven (queries=140: 100 and 72)",
)


class OrionBackend(IntegerProofBackend):
    """Proves integer models as Cairo programs: transparent, post-quantum, succinct, and not zero-knowledge."""

    api_version = 1
    name: ClassVar[str] = NAME
    version = "0.1.0+stwo2.3.0-cairo1.3.0"
    settings_class = OrionSettings
    settings: OrionSettings
    capabilities = Capabilities(
        sound=True,
        transparent_setup=True,
        post_quantum=True,
        binds_context=True,
        deterministic=True,
        security_bits=96,
        proof_system="circle STARK (FRI) of a Cairo program",
        field="Mersenne-31, extension of degree 4",
        security={"FRI up to capacity, conjectured": 96, "FRI up to the Johnson bound, proven": 59},
        security_note="; ".join(NOTES),
    )

    @classmethod
    @override
    def warm_up(cls, stage: str) -> None:
        super().warm_up(stage)
        if stage in {"check", "setup"}:
            import balance_orion.cost
        if stage == "prove":
            import balance_orion.plan
            import balance_orion.witness  # noqa: F401  # what a worker imports while it waits

    @override
    def estimate(self, structure: IntegerModel) -> Support:
        from balance_orion.cost import Cost, cost_of_structure

        found = cost_of_structure(structure)
        if not isinstance(found, Cost):
            problem = NodeProblem(
                node="model",
                operator="model",
                reason=found,
                mend="use fewer or smaller layers, or the backend zkml_halo2",
            )
            return Support(problems=(problem,), notes=NOTES)
        component, rows = found.largest
        estimate = Estimate(
            rows=rows,
            log_rows=max(rows - 1, 1).bit_length(),
            setup_seconds=1.0 + found.words / 20_000,
            prove_seconds=round(found.wall_seconds, 1),
            memory_bytes=found.memory_bytes,
        )
        said = ", ".join(f"{name} {count}" for name, count in sorted(found.rows.items()))
        largest = f"about {found.steps} steps; {component} is the largest component; rows: {said}"
        return Support(estimate=estimate, notes=(*NOTES, largest))

    @override
    def make_keys(self, integer: IntegerModel, job: Job) -> Keys:
        from balance_orion import plan
        from balance_orion.cost import cost
        from balance_orion.generator import generate
        from balance_orion.machine import TooLarge
        from balance_orion.native import verifier

        job.progress("writing the Cairo program")
        try:
            program = generate(integer)
        except TooLarge as error:
            raise _refused(str(error)) from error
        found = cost(program)
        if found.problem is not None:
            raise _refused(found.problem)
        data = program.to_bytes()
        conjectured, johnson = verifier().security_bits(self.settings.queries)
        key = ProgramKey(bytes(verifier().program_hash(data)), self.settings.queries)
        return Keys(
            key={PROGRAM_PART: key.to_bytes()},
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            proving={PROGRAM_PART: data, PLAN_PART: plan.to_bytes(program)},
            facts={
                "steps": program.steps,
                "words": len(program.words),
                "range_checks": len(program.check_sources),
                "queries": self.settings.queries,
                "security_bits_conjectured": int(conjectured),
                "security_bits_johnson": int(johnson),
                **{f"rows_{name}": count for name, count in sorted(found.rows.items())},
            },
        )

    @override
    def prove_integers(
        self, circuit: Circuit, opening: Opening, integer: IntegerModel, requests: Sequence[IntegerRequest], job: Job
    ) -> bytes:
        del opening
        from balance_core.integer.executor import execute_integers
        from balance_orion import plan, witness

        request = requests[0]
        job.progress("computing the witness")
        execution = execute_integers(integer, request.batch(integer), intermediates=True)
        program = plan.read(job.path(circuit.proving[PLAN_PART]))
        tape = witness.tape(program, integer, execution.tensors, request.context)
        words = job.path(circuit.proving[PROGRAM_PART]).read_bytes()
        queries = ProgramKey.read(job.path(circuit.key[PROGRAM_PART]).read_bytes()).queries
        job.progress("proving")
        try:
            made = prover().prove(
                words, program.hints(), tape, queries=queries, progress=job.progress, threads=job.threads
            )
        except (ValueError, RuntimeError) as error:
            raise ToolFailed(f"the prover failed: {error}") from error
        except MemoryError as error:
            raise StageOutOfMemory("the prover ran out of memory") from error
        return bytes(made["proof"])

    @override
    def make_verifier(self) -> OrionVerifier:
        from balance_orion.verifier import OrionVerifier

        return OrionVerifier()


def _refused(reason: str) -> UnsupportedModel:
    return UnsupportedModel(f"{NAME} cannot prove this model", issues=[NodeIssue("model", "model", reason)])
