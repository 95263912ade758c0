"""Registering: a prepared model becomes a registration that its provider signs and a chain orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from balance_core.chain import Revocation
from balance_core.errors import ConfigError, Rejected
from balance_core.files import write_whole
from balance_core.records import Record, Registration, Trust
from balance_core.runs import Preparation
from balance_core.signing import SignedRegistration

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.chain import ChainEvent, ChainRef
    from balance_core.contracts import ChainAdapter
    from balance_core.pipeline import Pipeline
    from balance_core.signing import SigningKey
    from balance_core.workspace import Workspace


class Registered(Record):
    """A registration with what its provider needs to prove under it; kept in the provider's workspace."""

    kind: ClassVar[str] = "registered"
    signed: SignedRegistration
    preparation: Preparation

    @property
    def registration(self) -> Registration:
        """The registration as others see it."""
        return self.signed.registration


def register(
    pipeline: Pipeline,
    preparation: Preparation,
    *,
    key: SigningKey,
    chain: ChainAdapter | None,
    name: str | None = None,
    allow_insecure_test: bool = False,
) -> tuple[Registered, ChainRef | None]:
    """Sign a registration of the prepared model and publish it, unless the chain already has the same one.

    A circuit other than the one registered under the name becomes its next version. Raises ConfigError for a test
    setup on a chain that others rely on, unless that is asked for.
    """
    circuit = pipeline.circuit(preparation)
    commitment = pipeline.commitment(preparation)
    if circuit.setup_trust.trust is Trust.INSECURE_TEST and chain and not chain.local and not allow_insecure_test:
        raise ConfigError(
            "this setup is insecure-test: whoever made it could forge proofs, so it is not published to a chain",
            hint="import a ceremony's SRS with `balance srs import FILE`, or insist with --allow-insecure-test",
        )
    if commitment is not None and commitment.provider != key.public:
        raise ConfigError(
            f"the commitment was made for the provider {commitment.provider}, and not for {key.public}",
            hint="set the model up again with the key that is to register it",
        )
    public_weights = not pipeline.promises.private_weights
    wanted = Registration(
        name=name or registration_name(preparation),
        backend=circuit.backend,
        backend_version=circuit.backend_version,
        circuit_id=circuit.circuit_id,
        commitment_id=commitment.commitment_id if commitment else None,
        setup_trust=circuit.setup_trust,
        provider=key.public,
        model_id=circuit.model_id if public_weights else None,
    )
    latest = latest_version(chain, key.public, wanted.name) if chain else None
    if latest is not None:
        same = wanted.model_copy(update={"version": latest.version, "previous": latest.previous})
        if same == latest:
            return _keep(pipeline.workspace, same, preparation, key), None
        wanted = wanted.model_copy(update={"version": latest.version + 1, "previous": latest.registration_id})
    registered = _keep(pipeline.workspace, wanted, preparation, key)
    reference = chain.register(wanted, key=f"register/{wanted.registration_id}") if chain else None
    return registered, reference


def registration_name(preparation: Preparation) -> str:
    """Return the name that a model is registered under unless its provider chooses one."""
    return f"{preparation.model.name[:40]}-{preparation.backend[:20]}"


def latest_version(chain: ChainAdapter, provider: str, name: str) -> Registration | None:
    """Return the newest registration in force under a provider's name, as the chain's events have it.

    Raises Rejected for a name whose newest version was revoked: it is never free again.
    """
    latest: Registration | None = None
    for event in chain.events():
        if event.type == "registered":
            found = Registration.from_value(event.record)
            if found.provider == provider and found.name == name:
                latest = found
        elif event.type == "revoked" and latest and _revoked(event) == latest.registration_id:
            raise Rejected(
                f"the registration {name!r} was revoked, and its name is never free again",
                hint="register under another name: --name NAME",
            )
    return latest


def _revoked(event: ChainEvent) -> str:
    return Revocation.from_value(event.record).registration_id


def _keep(workspace: Workspace, registration: Registration, preparation: Preparation, key: SigningKey) -> Registered:
    registered = Registered(signed=SignedRegistration.sign(registration, key), preparation=preparation)
    write_whole(_path(workspace, registration.registration_id), registered.to_json(), mode=0o600)
    return registered


def _path(workspace: Workspace, registration_id: str) -> Path:
    return workspace.root / "registered" / f"{registration_id}.json"


def find(workspace: Workspace, name_or_id: str) -> Registered:
    """Return one's own registration by its id, an unambiguous beginning of it, or its name (the newest version)."""
    folder = workspace.root / "registered"
    known = [Registered.from_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    matching = [
        one
        for one in known
        if one.registration.name == name_or_id
        or (len(name_or_id) >= 8 and one.registration.registration_id.startswith(name_or_id))
    ]
    if not matching:
        names = ", ".join(sorted({one.registration.name for one in known}))
        raise ConfigError(
            f"this workspace has no registration {name_or_id!r}",
            hint=f"registered: {names}" if names else "`balance setup MODEL` registers one",
        )
    return max(matching, key=lambda one: one.registration.version)
