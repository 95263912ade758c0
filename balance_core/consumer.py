"""What a consumer does: check a proof, look into a bundle, and derive a registration again from the model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from balance_core import cid, registering, registry
from balance_core.bundle import Bundle
from balance_core.errors import ConfigError
from balance_core.files import read_limited, write_output
from balance_core.records import (
    MAX_RECORD_BYTES,
    Circuit,
    Digest,
    InputOpening,
    Making,
    Name,
    Record,
    Registration,
)
from balance_core.runs import RunReceipt
from balance_core.session import BUNDLE_FILE, RECEIPT_FILE, Session
from balance_core.stages import Limits, Task
from balance_core.verification import Verified, vouch
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.chain import Voucher

_MAX_REGISTRATION_BYTES = 2**20


def verify(
    bundle: Path | str | bytes,
    *,
    registration: Registration | Path | str | None = None,
    chain: str | None = None,
    chain_settings: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    opening: InputOpening | Path | str | None = None,
) -> Verified:
    """Check a bundle in a fresh process, from its bytes alone, and return what it proves.

    `registration` is the one that is expected: the record, its id, or a file that holds either. With `chain` (and its
    settings) that chain is asked who stands behind it. With neither, the result says that nobody vouches for it.
    `opening`, or its file, must hold the private inputs that the proof hides: the result then shows them.
    Raises InvalidProof with the reason, ConfigError for what is no bundle, Rejected for a revoked registration.
    """
    data = bundle if isinstance(bundle, bytes) else read_bundle(bundle).to_bytes()
    found = Bundle.from_bytes(data)
    voucher: Voucher | None = None
    if chain is not None:
        voucher = vouch(registry.create("chains", chain, chain_settings), chain, found.registration_id)
    expected = _expected(registration)
    opened = _opening(opening)
    backend = found.registration.registration.backend
    registry.info("verifiers", backend)
    executor = registry.create("executors", "local")
    with Workspace.default().scratch() as folder, closing(executor):
        path = folder / "bundle"
        path.write_bytes(data)
        arguments = {
            "bundle": str(path),
            "registration": expected.model_dump(mode="json") if isinstance(expected, Registration) else expected,
            "voucher": voucher.model_dump(mode="json") if voucher else None,
            "opening": opened.model_dump(mode="json") if opened else None,
        }
        task = Task(stage="verify", plugin=backend, arguments=arguments, limits=limits or Limits())
        return Verified.from_value(executor.submit(task).result().value)


def _opening(given: InputOpening | Path | str | None) -> InputOpening | None:
    """Return what opens private inputs."""
    if given is None or isinstance(given, InputOpening):
        return given
    return InputOpening.from_json(read_limited(Path(given), max_size=MAX_RECORD_BYTES, what="opening"))


def _expected(given: Registration | Path | str | None) -> Registration | str | None:
    """Return the registration or registration id that the caller means."""
    if given is None or isinstance(given, Registration):
        return given
    text = str(given)
    if not Path(text).exists():
        if len(text) == 64 and not set(text) - set("0123456789abcdef"):
            return text
        raise ConfigError(
            f"{text!r} is neither a registration id nor a file",
            hint="an id has 64 hex digits; `balance ledger list` shows them",
        )
    content = read_limited(Path(text), max_size=_MAX_REGISTRATION_BYTES, what="registration").strip()
    if len(content) == 64:
        return _expected(content.decode("ascii", "replace"))
    return Registration.from_json(content)


def read_bundle(source: Path | str) -> Bundle:
    """Read a bundle from its file, or from a run named by its id."""
    path = Path(source)
    run = Workspace.default().runs / str(source) / BUNDLE_FILE
    if not path.exists() and "/" not in str(source) and run.exists():
        path = run
    return Bundle.read(path)


def write_bundle(run: str, target: Path | str) -> Bundle:
    """Write the bundle of a run to a file, and return it."""
    bundle = read_bundle(run)
    write_output(Path(target), bundle.to_bytes())
    return bundle


class BundleContents(Record):
    """What a bundle holds. Nothing of it was verified."""

    kind: ClassVar[str] = "bundle-contents"
    bundle: str
    registration_id: Digest
    registration: Registration
    key_bytes: dict[Name, int]
    proof_bytes: int
    claims: dict[str, int]


def inspect(source: Path | str) -> BundleContents | RunReceipt:
    """Return a run's receipt, or what a bundle's file holds, without verifying anything."""
    receipt = Workspace.default().runs / str(source) / RECEIPT_FILE
    if "/" not in str(source) and receipt.exists():
        return RunReceipt.from_json(receipt.read_bytes())
    bundle = read_bundle(source)
    return BundleContents(
        bundle=cid.of_bytes(bundle.to_bytes()),
        registration_id=bundle.registration_id,
        registration=bundle.registration.registration,
        key_bytes={name: len(part) for name, part in bundle.key.parts.items()},
        proof_bytes=len(bundle.proof.data),
        claims={name: len(claim) for name, claim in bundle.claims.items()},
    )


class Reproduction(Record):
    """A registration next to what the model really gives.

    A commitment to private weights is made with fresh randomness, and can be derived again by nobody: where weights
    stand behind one, they were not compared.
    """

    kind: ClassVar[str] = "reproduction"
    registration: Registration
    model_id: Digest
    circuit_id: Digest
    agrees: bool
    """Whether the registered circuit is the model's, and the registered model_id, if there is one, too."""
    weights_compared: bool
    """Whether that includes the weights; if not, every model of this structure and these settings agrees."""


def reproduce(model: Any, registration: Path | str) -> Reproduction:
    """Derive the circuit of a model again and compare it with a registration.

    `registration` is a bundle, a run, or a registration of one's own workspace: it tells the settings. They need not
    be trusted, since what they give is compared with what was registered. Needs the same backend version, and the
    reference string that the registration was made with.
    """
    registered, making = _registered(registration)
    with Session({"backend": making.backend, "settings": making.settings, "storage": None, "chain": None}) as session:
        converted = session.convert(model, None, None)
        again = session.pipeline.derive(converted, parameters=registered.setup_trust.parameters)
    agrees = again.circuit_id == registered.circuit_id and registered.model_id in {None, converted.summary.model_id}
    return Reproduction(
        registration=registered,
        model_id=converted.summary.model_id,
        circuit_id=again.circuit_id,
        agrees=agrees,
        weights_compared=registered.commitment_id is None,
    )


def _registered(source: Path | str) -> tuple[Registration, Making]:
    """Return a registration and how its circuit was made."""
    run = Workspace.default().runs / str(source) / BUNDLE_FILE
    if Path(source).exists() or run.exists():
        bundle = read_bundle(source)
        claim = bundle.claims.get("making")
        if claim is None:
            raise ConfigError("the bundle does not say with which settings its circuit was made")
        return bundle.registration.check(), Making.from_json(claim)
    workspace = Workspace.default()
    own = registering.find(workspace, str(source))
    circuit = Circuit.from_json(workspace.blob(own.preparation.circuit).read_bytes())
    return own.registration, circuit.making
