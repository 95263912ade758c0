"""How a validator stands, read from its memory: also beside it, and while it does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from balance_core.records import Digest, Label, Name, Record
from balance_core.service.validator.reasons import Reason, State
from balance_core.service.validator.store import fact

if TYPE_CHECKING:
    from balance_core.service.validator.store import Store

Count = Annotated[int, Field(ge=0)]
_LISTED = 100


class Tally(Record):
    """How many proofs ended in one way."""

    kind: ClassVar[str] = "validator-tally"
    state: State
    reason: Reason | None
    proofs: Count


class Disagreement(Record):
    """Another validator's word that contradicts this one's verdict, or itself."""

    kind: ClassVar[str] = "validator-disagreement"
    proof_id: Digest
    validator: Label
    said: tuple[bool, ...]
    """What it called the proof; both: it equivocated."""
    verdict: bool | None
    """What this validator called it, if it did."""


class ValidatorStatus(Record):
    """What a validator has done, and what it makes of others."""

    kind: ClassVar[str] = "validator-status"
    validator: Label | None
    chain: Name | None
    cursor: Label | None
    """None: nothing was read yet."""
    waiting: Count
    """Proofs that are to be checked, or whose verdict is on its way to the chain."""
    tallies: tuple[Tally, ...]
    false_words: Count
    """Words of others that contradict this validator's."""
    equivocations: Count
    """Validators and proofs where somebody called one proof valid and invalid."""
    disagreements: tuple[Disagreement, ...]
    """The first hundred of either."""

    def count(self, state: State, reason: Reason | None = None) -> int:
        """Return how many proofs are in a state, for a reason or for any."""
        return sum(one.proofs for one in self.tallies if one.state is state and reason in {None, one.reason})


_DIFFERS = """
    SELECT w.proof, w.validator, group_concat(DISTINCT w.valid), s.verdict FROM words w
    LEFT JOIN work s ON s.proof = w.proof AND s.verdict IS NOT NULL
    WHERE w.validator != coalesce(?, '')
    GROUP BY w.proof, w.validator HAVING count(*) > 1 OR max(w.valid) != s.verdict
"""


def read_status(store: Store) -> ValidatorStatus:
    """Return how a validator stands."""
    with store.reading() as connection:
        validator, chain, cursor = (fact(connection, name) for name in ("validator", "chain", "cursor"))
        rows = connection.execute("SELECT state, reason, count(*) FROM work GROUP BY state, reason").fetchall()
        differing = connection.execute(_DIFFERS, (validator,)).fetchall()
    tallies = tuple(
        Tally(state=State(state), reason=Reason(reason) if reason else None, proofs=number)
        for state, reason, number in sorted(rows)
    )
    found = [
        Disagreement(
            proof_id=proof,
            validator=validator,
            said=tuple(text == "1" for text in sorted(said.split(","))),
            verdict=None if verdict is None else bool(verdict),
        )
        for proof, validator, said, verdict in differing
    ]
    equivocations = sum(len(one.said) > 1 for one in found)
    return ValidatorStatus(
        validator=validator,
        chain=chain,
        cursor=cursor,
        waiting=sum(one.proofs for one in tallies if one.state in {State.WAITING, State.DECIDED}),
        tallies=tallies,
        false_words=len(found) - equivocations,
        equivocations=equivocations,
        disagreements=tuple(found[:_LISTED]),
    )


class ProofReport(Record):
    """What became of one proof."""

    kind: ClassVar[str] = "validator-proof"
    proof_id: Digest
    registration_id: Digest
    provider: Label
    state: State
    reason: Reason | None
    detail: str
    verdict: bool | None
    tries: Count


def read_proof(store: Store, proof_id: str) -> ProofReport | None:
    """Return what became of one proof; None for one that was never seen."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT state, reason, detail, verdict, tries, registration, provider FROM work WHERE proof = ?",
            (proof_id,),
        ).fetchone()
    if row is None:
        return None
    state, reason, detail, verdict, tries, registration, provider = row
    return ProofReport(
        proof_id=proof_id,
        registration_id=registration,
        provider=provider,
        state=State(state),
        reason=Reason(reason) if reason else None,
        detail=detail,
        verdict=None if verdict is None else bool(verdict),
        tries=tries,
    )
