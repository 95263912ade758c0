"""The conformance of verifiers: what must be accepted, what must be refused, and what may be believed."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest

from balance_core.errors import BalanceError, InvalidProof
from balance_core.records import ModelCommitment, Proof, VerifyingKey
from balance_core.testing import attacks, confine, form, fresh
from balance_core.testing.edits import altered_keys, changed, check_statements, permuted, proofs, recounted, summary
from balance_core.testing.form import PluginConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from balance_core.contracts import Verifier
    from balance_core.testing.edits import Attempt
    from balance_core.testing.workbench import Proven


@dataclass(frozen=True)
class Evidence:
    """Valid proofs to tell apart."""

    valid: Proven
    again: Proven
    """Of the same registration, for another request."""
    twin: Proven
    """Of a model that differs in its weights alone."""
    other: Proven
    """Of a model with another graph."""


class VerifierConformance(PluginConformance):
    """What every verifier promises. One that is installed alone gives `evidence`: stored proofs."""

    kind = "verifiers"
    attribute = "verifier"
    verifier: ClassVar[str | type[Verifier]]
    """Name or class of the verifier."""
    sampled_bytes: ClassVar[int] = 500
    """How many bytes of a proof are changed, one at a time."""
    seconds_to_refuse: ClassVar[float] = 20.0
    """The longest that refusing a proof may take, whatever it holds."""
    modulus: ClassVar[int | None] = None
    """The order of the field that public values are in, where `public_values` tells them."""

    @classmethod
    def make_evidence(cls, folder: Path) -> Evidence:
        """Return valid proofs; `folder` is empty and stays as long as the class's tests run."""
        raise NotImplementedError

    @classmethod
    def make_verifier(cls) -> Verifier:
        """Return a new verifier."""
        verifier: Verifier = form.make("verifiers", cls.verifier_subject(), {})
        return verifier

    @classmethod
    def verifier_subject(cls) -> str | type[Verifier]:
        """Return name or class of the verifier."""
        return cls.verifier

    @classmethod
    def binds_context(cls) -> bool:
        """Say whether proofs bind the context."""
        return True

    def public_values(self, proof: Proof) -> list[int] | None:
        """Return the public values inside a proof, in their order; None where the kit should look for them itself."""
        del proof
        return None

    def with_public_values(self, proof: Proof, values: list[int]) -> Proof:
        """Return the proof with these public values in place of its own; there may be more or fewer of them."""
        raise NotImplementedError

    def mutations(self, proof: Proof) -> Iterator[tuple[str, bytes]]:
        """Yield a name and altered bytes for each structural field; by default those of a JSON or binary proof."""
        return attacks.structures(proof.data)

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
        """Valid proofs, made once for the class."""
        cls.plugin_class()
        return cls.make_evidence(tmp_path_factory.mktemp("evidence"))

    @pytest.fixture
    def away(self) -> None:
        """Hide everything that the prover left on this machine."""

    def test_valid_proof_states_what_was_proven(self, evidence: Evidence) -> None:
        """Verifying returns one statement for each request: its circuit, commitment, context, inputs and outputs."""
        for proven in (evidence.valid, evidence.again, evidence.twin, evidence.other):
            stated = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
            check_statements(stated, proven, binds_context=self.binds_context())
            assert tuple(statement.outputs for statement in stated) == proven.outputs

    def test_changed_byte_is_refused(self, evidence: Evidence) -> None:
        """A proof with any byte changed is refused."""
        flips = attacks.flips(evidence.valid.proof.data, count=self.sampled_bytes)
        self._refuses(evidence.valid, proofs(evidence.valid, flips))

    def test_changed_field_is_refused(self, evidence: Evidence) -> None:
        """A proof with any structural field taken away, repeated, emptied, retyped or changed is refused."""
        self._refuses(evidence.valid, proofs(evidence.valid, self.mutations(evidence.valid.proof)))

    def test_changed_public_value_is_refused(self, evidence: Evidence) -> None:
        """A proof with any public value changed by one, or by the order of its field, is refused."""
        self._refuses(evidence.valid, self._edited(evidence.valid, changed))

    def test_permuted_public_values_are_refused(self, evidence: Evidence) -> None:
        """A proof with two public values swapped is refused."""
        self._refuses(evidence.valid, self._edited(evidence.valid, permuted))

    def test_one_public_value_more_or_fewer_is_refused(self, evidence: Evidence) -> None:
        """A proof with one public value more or fewer is refused."""
        self._refuses(evidence.valid, self._edited(evidence.valid, recounted))

    def test_wrong_length_is_refused(self, evidence: Evidence) -> None:
        """A proof that was cut short, or has something added at either end, is refused."""
        self._refuses(evidence.valid, proofs(evidence.valid, attacks.lengths(evidence.valid.proof.data)))

    def test_empty_proof_is_refused(self, evidence: Evidence) -> None:
        """A proof of no bytes is refused."""
        self._refuses(evidence.valid, proofs(evidence.valid, [("no bytes", b"")]))

    def test_oversized_proof_is_refused(self, evidence: Evidence) -> None:
        """A proof of absurd size or nesting is refused, and soon."""
        self._refuses(evidence.valid, proofs(evidence.valid, attacks.oversized(evidence.valid.proof.data)))

    def test_garbage_is_refused(self, evidence: Evidence) -> None:
        """Bytes that are no proof, also such that parse as one, are refused."""
        self._refuses(evidence.valid, proofs(evidence.valid, attacks.garbage(evidence.valid.proof.data)))

    def test_wrong_key_is_refused(self, evidence: Evidence) -> None:
        """A proof is refused under any other circuit's key."""
        valid = evidence.valid
        wrong = [
            proven for proven in (evidence.twin, evidence.other) if proven.key.circuit_id != valid.key.circuit_id
        ]
        assert wrong, "two different graphs share a verifying key"
        self._refuses(
            valid,
            [
                ("another circuit's key", proven.key, commitment, valid.proof)
                for proven in wrong
                for commitment in (proven.commitment, valid.commitment)
            ],
        )

    def test_altered_key_never_passes_for_the_original(self, evidence: Evidence) -> None:
        """Under a key with anything changed, a proof is refused, or its statement names the changed key's circuit."""
        verifier = self.make_verifier()
        findings = []
        for name, key in altered_keys(evidence.valid.key):
            try:
                stated = verifier.verify(key, evidence.valid.commitment, evidence.valid.proof)
            except BalanceError:
                continue
            except Exception as error:  # noqa: BLE001 - that it is not the right kind of error is the finding
                findings.append(f"{name}: {type(error).__name__}: {error}")
                continue
            if not stated or any(statement.circuit_id != key.circuit_id for statement in stated):
                findings.append(f"{name}: accepted for another circuit")
        assert not findings, summary(findings)

    def test_wrong_commitment_is_refused(self, evidence: Evidence) -> None:
        """A proof is refused with any commitment but its own: with none, or the same as another provider's."""
        valid = evidence.valid
        own = valid.commitment
        provider = own.provider if own is not None else "5a" * 32
        made_up = ModelCommitment(backend=valid.key.backend, provider=provider, data="5a" * 32)
        others: list[ModelCommitment | None] = [made_up, evidence.twin.commitment, evidence.other.commitment]
        if own is not None:
            others.append(None)
            data = bytes.fromhex(own.data)
            altered = [*attacks.flips(data, count=16), ("short", data[:-1]), ("long", data + b"\0"), ("empty", b"")]
            others += [own.model_copy(update={"data": change.hex()}) for _, change in altered]
            # A copy of somebody's commitment, as another provider's own.
            flipped = f"{int(own.provider[:2], 16) ^ 1:02x}{own.provider[2:]}"
            others += [own.model_copy(update={"provider": another}) for another in (flipped, "5a" * 32)]
        wrong = [commitment for commitment in others if commitment != own]
        self._refuses(valid, [("another commitment", valid.key, commitment, valid.proof) for commitment in wrong])

    def test_proof_of_another_model_is_refused(self, evidence: Evidence) -> None:
        """The proof of another model, even of one that differs in its weights alone, is refused."""
        valid = evidence.valid
        swapped = [
            (f"the proof of {name}", valid.key, valid.commitment, proven.proof)
            for name, proven in (("the model with other weights", evidence.twin), ("another graph", evidence.other))
        ]
        self._refuses(valid, swapped)

    def test_proofs_of_two_requests_do_not_mix(self, evidence: Evidence) -> None:
        """Halves of two valid proofs do not make one, and each proof states its own request."""
        one, two = evidence.valid.proof.data, evidence.again.proof.data
        places = sorted({len(one) * part // 8 for part in range(1, 8)})
        mixed = [(f"{place} bytes of one proof, the rest of another", one[:place] + two[place:]) for place in places]
        self._refuses(evidence.valid, proofs(evidence.valid, [mix for mix in mixed if mix[1] != two]))

    @pytest.mark.usefixtures("away")
    def test_fresh_process_reaches_the_same_verdict(self, evidence: Evidence) -> None:
        """A process that holds nothing but the bytes states the same, with all that the prover left taken away."""
        valid = evidence.valid
        stated = self.make_verifier().verify(valid.key, valid.commitment, valid.proof)
        altered = Proof(valid.proof.backend, next(attacks.flips(valid.proof.data, count=1))[1])
        verdicts = fresh.verdicts(
            self.verifier_subject(),
            [(valid.key, valid.commitment, valid.proof), (valid.key, valid.commitment, altered)],
        )
        assert verdicts[0] == {"statements": [statement.to_json().decode() for statement in stated]}
        assert "refused" in verdicts[1], verdicts[1]

    def test_verdict_does_not_depend_on_what_came_before(self, evidence: Evidence) -> None:
        """One verifier, used again and again, and a new one say the same."""
        verifier = self.make_verifier()
        sequence = (evidence.valid, evidence.other, evidence.again, evidence.valid)
        used = [verifier.verify(proven.key, proven.commitment, proven.proof) for proven in sequence]
        new = [self.make_verifier().verify(proven.key, proven.commitment, proven.proof) for proven in sequence]
        assert used == new

    def test_threads_do_not_disturb_each_other(self, evidence: Evidence) -> None:
        """One verifier checks valid and invalid proofs in several threads at once."""
        verifier = self.make_verifier()
        broken = [change for _, change in attacks.flips(evidence.valid.proof.data, count=8)]
        work = list(itertools.chain.from_iterable((evidence.valid.proof.data, change) for change in broken))

        def verdict(data: bytes) -> bool:
            try:
                return bool(verifier.verify(evidence.valid.key, evidence.valid.commitment, Proof(backend, data)))
            except BalanceError:
                return False

        backend = evidence.valid.proof.backend
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(verdict, work)) == [data == evidence.valid.proof.data for data in work]

    def test_setup_trust_is_told_by_the_key(self, evidence: Evidence) -> None:
        """The verifier tells the setup's trust from the key alone, and refuses a key that is none."""
        verifier = self.make_verifier()
        key = evidence.valid.key
        assert verifier.setup_trust(key) == self.make_verifier().setup_trust(key)
        with pytest.raises(InvalidProof):
            verifier.setup_trust(VerifyingKey(key.backend, {}))

    def test_verifying_leaves_no_trace(self, evidence: Evidence, tmp_path: Path) -> None:
        """Verifying writes nothing outside a temporary folder, leaves nothing there, and calls nobody."""
        valid = evidence.valid
        verifier = self.make_verifier()
        around, temporary = tmp_path / "around", tmp_path / "temporary"
        around.mkdir()
        temporary.mkdir()
        variables = {"HOME": str(around), "XDG_CACHE_HOME": None, "XDG_DATA_HOME": None}
        with (
            confine.surroundings(around, temporary, variables),
            confine.watched((temporary,), network=verifier.needs_network) as watch,
        ):
            verifier.verify(valid.key, valid.commitment, valid.proof)
        left = [str(path) for folder in (around, temporary) for path in folder.rglob("*")]
        assert not [*watch.writes, *left], "written outside a temporary folder, or left there"
        assert verifier.needs_network or not watch.calls, watch.calls

    def _refuses(self, valid: Proven, attempts: Iterable[Attempt]) -> None:
        """Assert that each attempt is refused with a typed error, soon, and that the valid proof still verifies."""
        verifier = self.make_verifier()
        before = verifier.verify(valid.key, valid.commitment, valid.proof)
        findings = []
        tried = 0
        for name, key, commitment, proof in attempts:
            if (key, commitment, proof) == (valid.key, valid.commitment, valid.proof):
                continue
            tried += 1
            started = time.monotonic()
            try:
                stated = verifier.verify(key, commitment, proof)
            except BalanceError:
                taken = time.monotonic() - started
                if taken > self.seconds_to_refuse:
                    findings.append(f"{name}: refused after {taken:.0f} s")
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception
                findings.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
            else:
                findings.append(f"{name}: accepted, and {len(stated)} statements returned")
        after = verifier.verify(valid.key, valid.commitment, valid.proof)
        assert not findings, summary(findings)
        assert after == before, "the valid proof no longer says the same"
        assert tried, "the kit found nothing to alter: override public_values, with_public_values or mutations"

    def _edited(
        self, proven: Proven, edit: Callable[[list[int], int | None], Iterator[tuple[str, list[int]]]]
    ) -> Iterator[Attempt]:
        """Yield the proof with edited public values: through the hooks, or else found by the kit itself."""
        values = self.public_values(proven.proof)
        if values is not None:
            assert self.with_public_values(proven.proof, values) == proven.proof, "the hooks do not fit together"
            for name, edited in edit(values, self.modulus):
                yield name, proven.key, proven.commitment, self.with_public_values(proven.proof, edited)
            return
        stated = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
        data = proven.proof.data
        if edit is recounted:
            yield from proofs(proven, attacks.recounted(data))
        else:
            found = attacks.permuted_values if edit is permuted else attacks.changed_values
            yield from proofs(proven, found(data, stated))
