"""One cell while it is measured: its stages round by round, its checks, and the record that comes of it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core import arrays, errors
from balance_core.compare import checks, circuits, proofs
from balance_core.compare.checks import Refusal
from balance_core.compare.machine import environment
from balance_core.compare.results import Cell, Conditions, Gas, Sizes, Status
from balance_core.compare.stages import Stopped, now
from balance_core.records import HiddenTensor
from balance_core.stages import Support

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.compare.circuits import Made
    from balance_core.compare.describing import Described
    from balance_core.compare.proofs import Proven
    from balance_core.compare.results import CircuitRecord, Faithfulness, Tampering
    from balance_core.compare.stages import Course
    from balance_core.compare.subjects import Prepared
    from balance_core.records import Tensor
    from balance_core.stages import NodeProblem

EXCESS = 1.5
"""Setup is not started where this many times the memory limit is expected to be needed."""


@dataclass(frozen=True)
class Choice:
    """What a cell is: a subject, a backend with its settings, and the conditions that all share."""

    machine: str
    subject: Prepared
    backend: Described
    conditions: Conditions
    seed: int

    def proven(self, repeat: int) -> int:
        """Return which input is proven in a round: the same for every backend."""
        text = f"{self.seed}/{self.subject.record.model_id}/{repeat}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % self.subject.count


class Measured:
    """A cell under way. No step raises: what went wrong is the cell's status, and it goes no further."""

    def __init__(self, choice: Choice, course: Course, *, shared: bool = False) -> None:
        self.choice = choice
        self._course = course
        self._started = now()
        self._environment = environment(choice.backend.record.distribution, shared=shared)
        self.status, self.reason = Status.OK, ""
        self.stopped_at: str | None = None
        self.problems: tuple[NodeProblem, ...] = ()
        self.support: Support | None = None
        self._notes: list[str] = list(choice.subject.notes)
        self._made: Made | None = None
        self._circuit: CircuitRecord | None = None
        self._answers: tuple[tuple[Tensor, ...], ...] = ()
        self._faithfulness: Faithfulness | None = None
        self._proven: Proven | None = None
        self._sizes = Sizes()
        self._gas = Gas()
        self._hidden: tuple[str, ...] = ()
        self._tamperings: tuple[Tampering, ...] = ()
        if choice.backend.failure:
            self._stop(Status.FAILED, choice.backend.failure)
        elif choice.subject.probe is None:
            reason = "the model's own output does not depend on its input: there is nothing to prove"
            self._stop(Status.REFUSED, reason)

    @property
    def alive(self) -> bool:
        """Whether there is more to measure."""
        return self.status is Status.OK

    def check(self) -> None:
        """Ask what is not covered and what the rest would cost, before anything is timed."""
        self._step(self._check)

    def round(self, repeat: int) -> None:
        """Measure setup, prove and verify once; what took long is measured once in all."""
        self._step(lambda: self._round(repeat))

    def finish(self) -> None:
        """Tamper with the cell's own proof, and try what a contract takes to check it."""
        self._step(self._tamper)
        self._step(self._onchain)

    def close(self) -> None:
        """Remove what the cell left on the disk."""
        shutil.rmtree(self._course.folder, ignore_errors=True)

    def record(self) -> Cell:
        """Return the cell as its file has it."""
        choice, backend = self.choice, self.choice.backend
        return Cell(
            machine=choice.machine,
            status=self.status,
            reason=self.reason,
            stopped_at=self.stopped_at,
            started=self._started,
            ended=now(),
            model=choice.subject.record,
            backend=backend.record,
            settings=backend.settings,
            conditions=choice.conditions,
            seed=choice.seed,
            problems=self.problems,
            estimate=self.support.estimate if self.support else None,
            support_notes=self.support.notes if self.support else (),
            stages=self._course.stages,
            circuit=self._circuit,
            sizes=self._sizes,
            gas=self._gas,
            faithfulness=self._faithfulness,
            hidden=self._hidden,
            tamperings=self._tamperings,
            environment=self._environment,
            notes=tuple(self._notes),
        )

    def _step(self, work: Callable[[], None]) -> None:
        if not self.alive:
            return
        try:
            work()
        except Stopped as stopped:
            self.problems = self.problems or stopped.problems
            self._stop(stopped.status, stopped.reason)
        except Refusal as refusal:
            self._stop(Status.REFUSED, str(refusal))
        except errors.BalanceError as error:
            self._stop(Status.FAILED, error.message)
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            # What a plugin's stage wrote is not of the form that it should be.
            self._stop(Status.FAILED, f"it gave what cannot be read: {type(error).__name__}: {error}")

    def _stop(self, status: Status, reason: str) -> None:
        self.status, self.reason, self.stopped_at = status, " ".join(reason.split())[:2000], self._course.at

    def _check(self) -> None:
        subject = self.choice.subject
        result = self._course.run("check", subject.workspace, blobs={"model": subject.model})
        self.support = Support.from_value(result.value)
        self.problems = self.support.problems
        if self.problems:
            first, more = self.problems[0], len(self.problems) - 1
            others = f", and {more} more" if more else ""
            self._stop(Status.UNSUPPORTED, f"{first.node} [{first.operator}]: {first.reason}{others}")
            return
        self._course.at = None
        needed, allowed = self.support.estimate.memory_bytes, self._course.memory_limit()
        if needed is not None and needed > EXCESS * allowed:
            reason = f"not started: it is expected to need {_gib(needed)}, and {_gib(allowed)} may be used"
            self._stop(Status.OUT_OF_MEMORY, reason)

    def _round(self, repeat: int) -> None:
        choice, course = self.choice, self._course
        if self._is_due("setup", repeat) or self._made is None:
            self._keep(circuits.set_up(course, choice.subject, choice.backend, repeat, self._notes))
        made = self._made
        if made is None:
            raise Refusal("its setup gave nothing")
        if not self._answers:
            self._execute(made)
        if self._is_due("prove", repeat) or self._proven is None:
            self._prove(made, repeat)
        else:
            proofs.verify(course, self._proven.bundle, repeat)
        course.at = None

    def _is_due(self, stage: str, repeat: int) -> bool:
        """Whether a stage is measured in this round: always in the first, and then unless it took long."""
        below = self.choice.conditions.repeat_below_seconds
        if repeat == 0 or below is None:
            return True
        return all(sample.wall_seconds <= below for sample in self._course.samples(stage))

    def _keep(self, made: Made) -> None:
        """Let the setup of the last round go."""
        before = (self._made, self._circuit) if self._made and self._circuit else None
        self._circuit = made.record(before)
        self._sizes = self._sizes.model_copy(update=made.sizes())
        if before is not None:
            before[0].remove()
        self._made = made
        if made.commitment is not None and self.choice.backend.record.capabilities.private_weights:
            self._hidden = ("weights",)

    def _execute(self, made: Made) -> None:
        """Answer all inputs as proofs would, and compare with the float model: by the core, for every backend."""
        subject, course = self.choice.subject, self._course
        self._answers = proofs.answer(course, subject, made, subject.inputs)
        self._faithfulness = checks.faithfulness(subject.asked, self._answers)
        checks.check_depends(subject.asked, self._answers)
        if subject.probe is not None and subject.probe != subject.inputs:
            asked = arrays.read_samples(subject.workspace.blob(subject.probe))
            checks.check_depends(asked, proofs.answer(course, subject, made, subject.probe))
            course.forget_last("execute")

    def _prove(self, made: Made, repeat: int) -> None:
        choice = self.choice
        index = choice.proven(repeat)
        proven = proofs.prove(
            self._course, choice.subject, choice.backend, made, self._answers, index=index, repeat=repeat
        )
        self._proven = proven
        if self._faithfulness is not None:
            proofs_of = {"proven": (*self._faithfulness.proven, index), "proven_fraction": proven.covered}
            self._faithfulness = self._faithfulness.model_copy(update=proofs_of)
        if any(isinstance(tensor, HiddenTensor) for tensor in proven.statement.inputs):
            if "inputs" not in self._hidden:
                self._notes.append("its proofs hide the inputs: that they are those asked was not compared")
            self._hidden = tuple(sorted({"inputs", *self._hidden}))
        bytes_of = {"proof": len(proven.bundle.proof.data), "bundle": len(proven.bundle.to_bytes())}
        largest = {name: max(size, getattr(self._sizes, name) or 0) for name, size in bytes_of.items()}
        self._sizes = self._sizes.model_copy(update=largest)

    def _tamper(self) -> None:
        if self._proven is None:
            return
        choice = self.choice
        self._tamperings = proofs.tamper(self._course, self._proven, seed=choice.seed, quick=choice.conditions.quick)
        if not any(attempt.target == "statement" for attempt in self._tamperings):
            self._notes.append("its public values stand in the proof in no usual encoding, and were not altered")
        taken = [attempt for attempt in self._tamperings if not attempt.rejected]
        if taken:
            raise Refusal(f"an altered proof was not rejected: {taken[0].attempt}: {taken[0].verdict}")
        self._course.at = None

    def _onchain(self) -> None:
        """Where a contract cannot check it, that is the end of this stage, and of nothing else."""
        if self._proven is None or not self.choice.backend.exports:
            return
        try:
            found = proofs.try_onchain(self._course, self._proven)
        except Stopped:
            found = None  # the stage's own record says why
        self._course.at = None
        if found is not None:
            self._sizes = self._sizes.model_copy(update={"calldata": found.pop("calldata")})
            self._gas = Gas.from_value(found)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
