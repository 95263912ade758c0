"""One use of the pipeline: where things are kept, what is published where, and who is told."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict

from balance_core import canonical, registering, registry
from balance_core.builtin.events import EventLog
from balance_core.bundle import Bundle
from balance_core.chain import ProofRecord
from balance_core.contracts import ChecksProofs
from balance_core.errors import BalanceError, ConfigError, ToolFailed
from balance_core.files import write_whole
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.pipeline import Pipeline
from balance_core.runs import Execution, RunFailure, RunReceipt, RunStart
from balance_core.stages import Limits
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    import numpy as np

    from balance_core.chain import ChainRef
    from balance_core.pipeline import Converted
    from balance_core.records import Fidelity, Statement
    from balance_core.registering import Registered
    from balance_core.runs import ModelSummary, Preparation
    from balance_core.signing import SigningKey
    from balance_core.stages import Progress

BUNDLE_FILE = "proof.balance"
RECEIPT_FILE = "receipt.json"
EVENTS_FILE = "events.jsonl"
OPENING_FILE = "opening.json"
"""What opens the private inputs of a proof: for whoever asked, and nobody else."""
DEFAULT_BACKEND = "ezkl"
REFERENCE_BACKEND = "integer"
_ANSWERS_MAX_BYTES = 2**30


class Options(TypedDict, total=False):
    """What every call that runs stages understands; all are optional."""

    backend: str
    """The proof system; by default the only one installed, or else ezkl."""
    settings: Mapping[str, Any]
    """The backend's settings."""
    dimensions: Mapping[str, int]
    """Sizes for symbolic dimensions; a batch is 1 otherwise."""
    converter_settings: Mapping[str, Any]
    """Settings of what reads the model's format."""
    name: str | None
    """The name to register the model under."""
    limits: Limits
    """Time, memory and threads of each stage."""
    force: bool
    """Start even where the estimate says that memory will not do."""
    observers: Iterable[object]
    """Objects with hooks of `balance_core.hookspecs`."""
    watch: Callable[[Progress], None] | None
    """Called with the running stage's progress, from another thread."""
    storage: str | None
    """Where the bundle is put; None for nowhere."""
    storage_settings: Mapping[str, Any]
    chain: str | None
    """Where registration and proof are published; None for nowhere."""
    chain_settings: Mapping[str, Any]
    key: str
    """The name of the provider's signing key."""
    allow_insecure_test: bool
    """Publish a test setup even to a chain that others rely on."""


@dataclass(frozen=True)
class Run:
    """A finished run: the receipt, and where its files are."""

    receipt: RunReceipt
    folder: Path

    @property
    def statement(self) -> Statement:
        """What the proof says, as verification returned it."""
        return self.receipt.statement

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """The proven outputs by name, as float64 arrays."""
        return {tensor.name: tensor.real() for tensor in self.statement.outputs}

    @property
    def bundle(self) -> Path:
        """The file to hand to others."""
        return self.folder / BUNDLE_FILE


class Session:
    """A pipeline with its surroundings; use it as a context manager."""

    def __init__(self, options: Options) -> None:
        self.workspace = Workspace.default()
        self.options = options
        self.started = time.monotonic()
        self.run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"
        self.folder = self.workspace.runs / self.run_id
        self.backend = options.get("backend") or _default_backend()
        self.pipeline = Pipeline(
            workspace=self.workspace,
            backend=self.backend,
            settings=options.get("settings") or {},
            limits=options.get("limits") or Limits(),
            force=options.get("force", False),
            run_id=self.run_id,
            logs=self.folder / "logs",
            observers=(EventLog(self.folder / EVENTS_FILE), *options.get("observers", ())),
            watch=options.get("watch"),
        )
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(self.pipeline)
        with self._held.pop_all() as undo:  # the pipeline is closed if a plugin cannot be used
            chain, storage = self.options.get("chain", "ledger"), self.options.get("storage", "local")
            self.chain = self._plugin("chains", chain, self._chain_settings(chain))
            self.storage = self._plugin("storage", storage, self.options.get("storage_settings"))
            self._held = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def _chain_settings(self, chain: str | None) -> dict[str, Any]:
        """Return the chain's settings, with the provider's key for one that signs with the user's keys."""
        settings = dict(self.options.get("chain_settings") or {})
        if chain and "key" in self.options and "key" in registry.load("chains", chain).settings_class.model_fields:
            settings.setdefault("key", self.options["key"])
        return settings

    @staticmethod
    def _plugin(kind: str, name: str | None, settings: Mapping[str, Any] | None) -> Any:
        return registry.create(kind, name, settings) if name else None

    def convert(self, model: Any, inputs: Any, samples: Any) -> Converted:
        """Do the convert stage on files or on values in memory."""
        if inputs is None and samples is None:
            input_file = sample_file = None
        else:
            input_file, sample_file = self._input_file(inputs), self._input_file(samples)
        return self.pipeline.convert(
            self._model_file(model),
            inputs=input_file,
            samples=sample_file,
            dimensions=self.options.get("dimensions"),
            converter_settings=self.options.get("converter_settings"),
        )

    def convert_inputs(self, model: ModelSummary, inputs: Any) -> Converted:
        """Read inputs for a model that is already in normal form."""
        file = self._input_file(inputs)
        if file is None:
            raise ConfigError("there is nothing to prove without an input", hint="give one with --input x.npy")
        return self.pipeline.convert(Path(), packed=model, inputs=file)

    def _scratch(self) -> Path:
        return self._held.enter_context(self.workspace.scratch())

    def _model_file(self, model: Any) -> Path:
        if isinstance(model, (str, Path)):
            return Path(model)
        data = model if isinstance(model, bytes) else model.SerializeToString()
        path = self._scratch() / "model.onnx"
        path.write_bytes(data)
        return path

    def _input_file(self, inputs: Any) -> Path | None:
        if inputs is None or isinstance(inputs, (str, Path)):
            return Path(inputs) if inputs is not None else None
        import numpy as np

        path = self._scratch() / "inputs.npz"
        if isinstance(inputs, dict):
            np.savez(path, **inputs)
        else:
            np.savez(path, x=np.asarray(inputs))
        return path

    def _key(self) -> SigningKey:
        """Return the key that the model is registered with."""
        store = KeyStore(self.workspace.keys)
        name = self.options.get("key", DEFAULT_KEY)
        return store.default() if name == DEFAULT_KEY else store.load(name)

    def prepare(self, converted: Converted) -> Preparation:
        """Make a model ready for proving, for the provider of this session's key."""
        return self.pipeline.prepare(converted, self._key().public)

    def register(self, preparation: Preparation) -> tuple[Registered, ChainRef | None]:
        """Sign and publish the registration of a prepared model."""
        return registering.register(
            self.pipeline,
            preparation,
            key=self._key(),
            chain=self.chain,
            name=self.options.get("name"),
            allow_insecure_test=self.options.get("allow_insecure_test", False),
        )

    @contextmanager
    def following(self, source: str) -> Iterator[None]:
        """Tell the observers how the run begins and, if it does, fails; it ends well in `prove`."""
        self.pipeline.tell(
            "run_started",
            RunStart(
                run_id=self.run_id,
                source=source,
                backend=self.backend,
                settings=dict(self.pipeline.settings),
                limits=self.pipeline.limits,
            ),
        )
        try:
            yield
        except BaseException as error:
            message = error.message if isinstance(error, BalanceError) else str(error)
            self.pipeline.tell(
                "run_failed", RunFailure(run_id=self.run_id, error=type(error).__name__, message=message)
            )
            raise

    def prove(
        self,
        registered: Registered,
        converted: Converted,
        *,
        index: int,
        context: bytes | None,
        registration_ref: ChainRef | None = None,
    ) -> Run:
        """Prove one input, verify the proof as a stranger would, keep everything, store and publish."""
        if not 0 <= index < converted.requests or converted.inputs is None:
            raise ConfigError(
                f"there is no input number {index}: the file holds {converted.requests}",
                hint="inputs are counted from 0",
            )
        preparation = registered.preparation
        execution = self.execute(preparation, converted)
        promises = self.pipeline.promises
        context = context or os.urandom(32)
        blind = os.urandom(32) if promises.private_input else None
        proof = self.pipeline.prove(preparation, converted.inputs, index=index, context=context, blind=blind)
        claims = {"making": self.pipeline.circuit(preparation).making.to_json()}
        if not promises.private_input:  # how well the answers fit would tell of the inputs
            claims["fidelity"] = execution.fidelity.to_json()
        bundle = Bundle(
            registration=registered.signed,
            key=self.pipeline.verifying_key(preparation),
            commitment=self.pipeline.commitment(preparation),
            proof=proof,
            claims=claims,
        )
        data = bundle.to_bytes()
        address = self.workspace.publish_bytes(data)
        verified = self.pipeline.verify(address, registered.registration)
        statement = verified.statements[0]
        if execution.answers[index] != statement.outputs:
            raise ToolFailed(
                f"{self.backend} proved another answer than it executed", hint="report this to its author"
            )
        references = [registration_ref] if registration_ref else []
        references += self._publish(registered, statement, address, bundle)
        receipt = self._receipt(
            registered, converted, statement, execution.fidelity, bundle=address, references=references
        )
        write_whole(self.folder / BUNDLE_FILE, data)
        write_whole(self.folder / RECEIPT_FILE, receipt.to_json())
        if blind is not None:
            self._keep_opening(bundle, statement, converted.inputs, index=index, blind=blind)
        self.pipeline.tell("run_finished", receipt)
        return Run(receipt, self.folder)

    def _keep_opening(self, bundle: Bundle, statement: Statement, inputs: str, *, index: int, blind: bytes) -> None:
        """Keep what opens the private inputs of a statement, after trying that it does."""
        from balance_core import arrays, opening

        batch = arrays.read_samples(self.workspace.blob(inputs)).inputs
        verifier = registry.create("verifiers", self.backend)
        asked = {name: array[index] for name, array in batch.items()}
        made = opening.of(verifier, bundle.key, statement, asked, blind)
        opening.check(verifier, bundle.key, statement, made)
        write_whole(self.folder / OPENING_FILE, made.to_json(), mode=0o600)

    def execute(self, preparation: Preparation, converted: Converted) -> Execution:
        """Answer all inputs as proofs would."""
        if converted.inputs is None:
            raise ConfigError("there is nothing to answer without an input", hint="give one with --input x.npy")
        fidelity, answers = self.pipeline.execute(preparation, converted.inputs)
        data = self.workspace.blob(answers).read_bytes()
        decoded = canonical.decode(data, max_size=_ANSWERS_MAX_BYTES, what="answers")
        return Execution.from_value({"answers": decoded, "fidelity": fidelity.model_dump(mode="json")})

    def _publish(self, registered: Registered, statement: Statement, address: str, bundle: Bundle) -> list[ChainRef]:
        """Put the bundle into the storage and the proof's record onto the chain, which checks it if it can."""
        if self.storage is not None:
            import io

            stored = self.storage.put(io.BytesIO(bundle.to_bytes()))
            if stored != address:
                raise ToolFailed(f"the storage keeps the bundle as {stored}, its address is {address}")
        if self.chain is None:
            return []
        record = ProofRecord(
            registration_id=registered.registration.registration_id,
            context=statement.context,
            inputs_digest=statement.inputs_digest,
            statement_digest=statement.digest,
            bundle=address,
        )
        call = f"submit/{record.proof_id}/{address}"
        if isinstance(self.chain, ChecksProofs):
            return [self.chain.submit_checked(record, bundle, key=call)]
        return [self.chain.submit(record, key=call)]

    def _receipt(
        self,
        registered: Registered,
        converted: Converted,
        statement: Statement,
        fidelity: Fidelity,
        *,
        bundle: str,
        references: list[ChainRef],
    ) -> RunReceipt:
        circuit = self.pipeline.circuit(registered.preparation)
        notes = list(converted.summary.notes)
        if circuit.setup_trust.is_test_only:
            notes.append(TEST_SETUP_NOTE)
        promises = self.pipeline.promises
        sound = promises.sound
        if not sound:
            notes.append(f"{self.backend} is not sound: its proofs prove nothing to anybody")
        return RunReceipt(
            run_id=self.run_id,
            created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            model=converted.summary,
            backend=self.backend,
            settings=circuit.settings,
            registration=registered.registration,
            statement=statement,
            sound=sound,
            promises=promises,
            fidelity=fidelity,
            facts=circuit.facts,
            stages=tuple(self.pipeline.stages),
            total_seconds=time.monotonic() - self.started,
            bundle=bundle,
            storage=self.options.get("storage", "local"),
            chain_refs=tuple(references),
            versions={"balance-core": metadata.version("balance-core"), self.backend: circuit.backend_version},
            notes=tuple(notes),
        )


TEST_SETUP_NOTE = (
    "setup trust is insecure-test: its parameters were made for a trial, and whoever made them could forge proofs"
)


def _default_backend() -> str:
    """Return the only installed backend, or ezkl where there are several; never the one that proves nothing."""
    installed = [name for name in registry.names("backends") if name != REFERENCE_BACKEND]
    return installed[0] if len(installed) == 1 else DEFAULT_BACKEND
