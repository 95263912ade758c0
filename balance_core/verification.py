"""Checking a proof, and saying who vouches for what it was checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from balance_core import opening
from balance_core.bundle import check_parts
from balance_core.chain import Standing, Voucher, Vouches
from balance_core.errors import BalanceError, ConfigError, InvalidProof, Rejected, ToolFailed
from balance_core.records import Digest, HiddenTensor, Record, Registration, SetupTrust, Statement, Tensor

if TYPE_CHECKING:
    from balance_core.bundle import Bundle
    from balance_core.contracts import ChainAdapter, Verifier
    from balance_core.records import InputOpening, VerifyingKey

NOBODY = "nobody: the proof is valid for a registration that nobody vouches for"
"""How a verification without a pinned registration is shown."""


class Verified(Record):
    """A proof that was checked: what it says, under which registration, and who vouches for that."""

    kind: ClassVar[str] = "verified"
    registration_id: Digest
    registration: Registration
    setup_trust: SetupTrust
    statements: tuple[Statement, ...]
    sound: bool
    """Whether the verifier says that what it accepts is proven; a mock and the reference backend say no."""
    opened_inputs: tuple[Tensor, ...] = ()
    """Private inputs that a statement hides, shown by an opening that was checked against it."""
    vouched_by: tuple[Voucher, ...] = ()
    """Empty: whoever made the bundle chose the registration too."""

    @property
    def hides_inputs(self) -> bool:
        """Whether a statement holds a commitment to an input in place of its values."""
        return any(isinstance(tensor, HiddenTensor) for one in self.statements for tensor in one.inputs)

    @property
    def vouched(self) -> str:
        """Who vouches for the registration, in words."""
        return "; ".join(map(str, self.vouched_by)) or NOBODY


def vouch(chain: ChainAdapter, name: str, registration_id: str) -> Voucher:
    """Ask a chain about a registration; raises Rejected where it is unknown or no longer told."""
    if isinstance(chain, Vouches):
        return chain.voucher(registration_id)
    found = chain.registration(registration_id)
    if found.registration_id != registration_id:
        raise Rejected(f"the chain {name!r} answered with the registration {found.registration_id}")
    return Voucher(registration_id=registration_id, chain=name, entry=registration_id)


def verify(
    bundle: Bundle,
    verifier: Verifier,
    *,
    expected: Registration | str | None = None,
    voucher: Voucher | None = None,
    accept_revoked: bool = False,
    opened: InputOpening | None = None,
) -> Verified:
    """Return what a bundle proves; raises InvalidProof with the reason.

    `expected` is the registration, or its id, that the caller got elsewhere; `voucher` is a chain's word for one
    (see `vouch`). Without either, the proof is checked against the bundle's own registration: nobody vouches for it.
    A registration that its provider has revoked is Rejected, unless `accept_revoked` leaves it to the report.
    `opened` must hold the private inputs of a statement.
    """
    check_parts(bundle.registration, bundle.key, bundle.commitment, bundle.proof)
    registration = bundle.registration.registration
    vouchers = _pinned(registration, expected, voucher)
    if voucher is not None:
        check_standing(voucher, accept_revoked=accept_revoked)
    try:
        trust = verifier.setup_trust(bundle.key)
        statements = verifier.verify(bundle.key, bundle.commitment, bundle.proof)
    except BalanceError:
        raise
    except Exception as error:
        raise ToolFailed(
            f"the verifier of {registration.backend!r} failed: {type(error).__name__}: {error}",
            hint="it must raise InvalidProof for whatever is wrong with a proof: tell its author",
        ) from error
    if not isinstance(trust, SetupTrust):
        raise ToolFailed(
            f"the verifier of {registration.backend!r} does not say where the key's parameters come from"
        )
    if trust != registration.setup_trust:
        raise InvalidProof(
            f"the key's setup is {_words(trust)}, registration.json says {_words(registration.setup_trust)}"
        )
    _check_statements(statements, registration)
    return Verified(
        registration_id=registration.registration_id,
        registration=registration,
        setup_trust=trust,
        statements=statements,
        sound=verifier.sound,
        vouched_by=vouchers,
        opened_inputs=() if opened is None else _opened(verifier, bundle.key, statements, opened),
    )


def with_opening(verified: Verified, verifier: Verifier, key: VerifyingKey, opening: InputOpening) -> Verified:
    """Return what was verified with the private inputs that an opening shows; raises InvalidProof unless it fits."""
    return verified.model_copy(update={"opened_inputs": _opened(verifier, key, verified.statements, opening)})


def _opened(
    verifier: Verifier, key: VerifyingKey, statements: tuple[Statement, ...], opened: InputOpening
) -> tuple[Tensor, ...]:
    """Return the inputs of the statement that an opening is of; raises InvalidProof unless it opens them."""
    named = [statement for statement in statements if statement.context == opened.context]
    if not named:
        raise InvalidProof("the opening is of another request")
    opening.check(verifier, key, named[0], opened)
    return opened.inputs


def _pinned(
    registration: Registration, expected: Registration | str | None, voucher: Voucher | None
) -> tuple[Voucher, ...]:
    """Return who vouches for the registration; raises InvalidProof if it is another than they mean."""
    found = registration.registration_id
    vouchers = []
    if expected is not None:
        wanted = expected if isinstance(expected, str) else expected.registration_id
        if wanted != found:
            raise InvalidProof(
                f"the bundle is of the registration {found}, and not of {wanted}",
                hint="ask for a proof under the registration that you rely on",
            )
        vouchers.append(Voucher(registration_id=wanted))
    if voucher is not None:
        if voucher.registration_id != found:
            raise InvalidProof(
                f"the bundle is of the registration {found}, and not of {voucher.registration_id}: {voucher}"
            )
        vouchers.append(voucher)
    return tuple(vouchers)


def check_standing(voucher: Voucher, *, accept_revoked: bool = False) -> None:
    """Raise Rejected unless a chain says that the registration is, or was, in force."""
    if voucher.chain is None:
        raise ConfigError("a voucher names a chain", hint="give the registration itself as `expected`")
    if voucher.standing is Standing.PROPOSED:
        raise Rejected(f"registration {voucher.registration_id} is not in force: {voucher}")
    if voucher.standing is Standing.REVOKED and not accept_revoked:
        raise Rejected(
            f"registration {voucher.registration_id} was revoked: {voucher}",
            hint="its provider no longer stands behind it: ask for a proof under a newer registration",
        )


def _check_statements(statements: object, registration: Registration) -> None:
    """Raise InvalidProof unless these are statements, at least one, about this circuit and this commitment."""
    if not isinstance(statements, tuple) or not statements:
        raise InvalidProof("the proof states nothing")
    for statement in statements:
        if not isinstance(statement, Statement):
            raise InvalidProof("the verifier returned something that is no statement")
        if statement.circuit_id != registration.circuit_id:
            raise InvalidProof(f"the proof is about the circuit {statement.circuit_id}, not the registered one")
        if statement.commitment_id != registration.commitment_id:
            raise InvalidProof(f"the proof is about the commitment {statement.commitment_id}, not the registered one")


def _words(trust: SetupTrust) -> str:
    return f"{trust.trust} ({trust.parameters})" if trust.parameters else str(trust.trust)
