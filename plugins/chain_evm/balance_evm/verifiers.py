"""The contracts that check proofs: one for all circuits of a proof system, or one for each circuit.

Nothing of a backend is known here: it exports a contract's source, a circuit's words and a proof's parts
(`ExportsEvmVerifier`), and the registry's adapter for that kind of contract does the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

from balance_core import registry as plugins
from balance_core.contracts import ExportsDedicatedEvmVerifier, ExportsEvmVerifier
from balance_core.errors import ChainError, InvalidProof, PluginNotFound
from balance_core.files import read_limited, write_whole
from balance_evm import fees, interfaces, layout
from balance_evm.artifacts import artifact
from balance_evm.deployments import VerifierPair
from balance_evm.sender import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.contracts import EvmCircuit, EvmContract
    from balance_core.records import Proof, Registration, VerifyingKey
    from balance_evm.chain import EvmChain
    from balance_evm.chronicle import Model
    from balance_evm.compile import Code
    from balance_evm.layout import Reading

SHARED, DEDICATED = "ezkl-reusable", "ezkl-dedicated"
ADAPTERS = {SHARED: "EzklReusable", DEDICATED: "EzklDedicated"}
"""The registry's adapter for each kind of contract that a backend may export."""
KNOWN_CODE = {
    "b426d5f31e2f9d327baac7d9415dd135df06a6d2628f971ae7446c4bffbcd80f": (
        "4157c59f7de2271addfd3107ad446174897c8298ff492328b25c1669e4c83994"
    ),
}
"""What the pinned compiler makes of known sources, both by SHA-256: so that a reader needs no compiler."""
_MAX_CODE_BYTES = 2**20


@dataclass(frozen=True)
class Checkable:
    """A verifying key as contracts take it."""

    contract: EvmContract
    circuit: EvmCircuit
    reading: Reading

    @property
    def name(self) -> str:
        """The SHA-256 of the contract's source."""
        return hashlib.sha256(self.contract.source.encode()).hexdigest()

    @property
    def adapter(self) -> str:
        """The name of the adapter for the contract."""
        return ADAPTERS[self.contract.interface]

    def material(self, chain: EvmChain, contract: str) -> bytes:
        """Return what the adapter is told, whose digest is its key; a dedicated contract is named by its code."""
        if self.contract.interface == SHARED:
            return layout.reusable(self.reading, self.circuit.words, self.circuit.proof_bytes)
        code_hash = bytes(keccak(chain.network.code(contract)))
        return layout.dedicated(self.reading, contract, code_hash, self.circuit.proof_bytes)


def exporter(backend: str) -> ExportsEvmVerifier | None:
    """Return a backend that exports an EVM verifier, or None where the installed one does not."""
    try:
        found = plugins.create("backends", backend)
    except PluginNotFound:
        return None
    return found if isinstance(found, ExportsEvmVerifier) else None


def checkable(source: ExportsEvmVerifier, key: VerifyingKey, registration: Registration, kind: str) -> Checkable:
    """Return a verifying key as contracts of a kind take it; raises ChainError for a kind that is not to be had."""
    if kind == DEDICATED and not isinstance(source, ExportsDedicatedEvmVerifier):
        raise ChainError(
            f"the backend {key.backend} brings no contract for a single circuit",
            hint="-o chain.verifier=shared takes the one for all circuits",
        )
    if kind == DEDICATED and isinstance(source, ExportsDedicatedEvmVerifier):
        contract = source.evm_dedicated(key)
    else:
        contract = source.evm_contract(key)
    if contract.interface not in ADAPTERS:
        raise ChainError(
            f"contracts of the kind {contract.interface!r} are unknown to this version of balance-evm",
            hint="pip install --upgrade balance-evm",
        )
    circuit = source.evm_circuit(key)
    tensors = [[(one.form, one.low, one.high) for one in group] for group in (circuit.inputs, circuit.outputs)]
    reading = layout.layout(registration.circuit_id, registration.commitment_id, *tensors)
    return Checkable(contract, circuit, reading)


def kind_of(chain: EvmChain, model: Model | None) -> str:
    """Return which kind of contract checks a model's proofs: the one bound to it, or the one that the user wants."""
    bound = "" if model is None else str(model.terms["verifier"])
    if not int(bound or "0", 16):
        return DEDICATED if chain.settings.verifier == "dedicated" else SHARED
    return DEDICATED if artifact(ADAPTERS[DEDICATED]).matches(chain.network.code(bound)) else SHARED


def compiled(chain: EvmChain, wanted: Checkable) -> Code:
    """Return the contract's code, compiled on this machine, once."""
    from balance_evm.compile import Code, compile_source

    folder = chain.network.folder / "compiled"
    paths = [folder / f"{wanted.name}.{part}" for part in Code._fields]
    if all(path.exists() for path in paths):
        return Code(*(read_limited(path, max_size=_MAX_CODE_BYTES, what="compiled contract") for path in paths))
    code = compile_source(wanted.contract.name, wanted.contract.source)
    for path, part in zip(paths, code, strict=True):
        write_whole(path, part)
    return code


def _is_compiled(chain: EvmChain, wanted: Checkable, runtime: bytes) -> bool:
    """Say whether code on the chain is what the pinned compiler makes of the source."""
    known = KNOWN_CODE.get(wanted.name)
    if known is not None:
        return hashlib.sha256(runtime).hexdigest() == known
    return compiled(chain, wanted).runtime == runtime


def deployed(chain: EvmChain, wanted: Checkable) -> VerifierPair:
    """Return the contract and its adapter on this chain; they are deployed if they are not there yet."""
    place = chain.network.deployments
    with place.deploying():
        known = place.read()
        found = known.verifiers.get(wanted.name)
        if found is not None and chain.network.code(found.adapter) and chain.network.code(found.contract):
            return found
        version = wanted.contract.version
        contract = create(chain, f"the verifier of {version}", compiled(chain, wanted).creation)
        pair = VerifierPair(
            contract=contract, adapter=_adapter(chain, wanted, contract, known.verifiers.values()), version=version
        )
        place.write(known.model_copy(update={"verifiers": {**known.verifiers, wanted.name: pair}}))
        return pair


def _adapter(chain: EvmChain, wanted: Checkable, contract: str, known: Iterable[VerifierPair]) -> str:
    """Return the adapter for a contract: one for each shared contract, and one for all dedicated ones."""
    compiled_adapter = artifact(wanted.adapter)
    if wanted.contract.interface == DEDICATED:
        for pair in known:
            if compiled_adapter.matches(chain.network.code(pair.adapter)):
                return pair.adapter
        return create(chain, "the adapter of dedicated verifiers", compiled_adapter.bytecode)
    code = interfaces.interface(wanted.adapter).creation(compiled_adapter.bytecode, contract)
    return create(chain, f"the adapter of {wanted.contract.version}", code)


def create(chain: EvmChain, what: str, code: bytes) -> str:
    """Make a contract and return its address; raises ChainError before sending what no chain would take."""
    fees.check_code(code, None, what)
    receipt = chain.writer.perform(Transaction(f"deploying {what}", None, code))
    address = str(receipt["contractAddress"]).lower()
    runtime = chain.network.code(address)
    if not runtime:
        raise ChainError(f"{what} was deployed to {address}, where there is no contract")
    fees.check_code(b"", runtime, what)
    return address


def bind(chain: EvmChain, model: Model, wanted: Checkable, cid: str) -> Model:
    """Name the model's verifier on the chain, after telling the contract of the circuit; once for each model.

    `cid` is where the verifying key can be read: a bundle's address, for instance.
    """
    if int(str(model.terms["verifier"]), 16):
        check_bound(chain, model, wanted)
        return model
    pair = deployed(chain, wanted)
    material = wanted.material(chain, pair.contract)
    adapter = interfaces.interface(wanted.adapter)
    told = (material, True) if wanted.contract.interface == SHARED else (material,)
    chain.writer.perform(
        Transaction("telling the verifier of the circuit", pair.adapter, adapter.call("prepare", *told))
    )
    call = interfaces.registry().call("bindVerifier", model.name, pair.adapter, keccak(material), cid)
    chain.writer.perform(Transaction("binding the model to its verifier", chain.network.registry, call))
    return chain.chronicle().models[model.name]


def check_bound(chain: EvmChain, model: Model, wanted: Checkable) -> None:
    """Raise ChainError unless the registered verifying key is that of the circuit."""
    if model.terms["verifyingKey"] != keccak(wanted.material(chain, _contract(chain, model, wanted))):
        raise ChainError(
            "the registry has another verifying key for this model than its circuit's",
            hint="register a new version: a verifier is bound once",
        )


def _contract(chain: EvmChain, model: Model, wanted: Checkable) -> str:
    """Return the contract behind a model's adapter, as the adapter says; raises InvalidProof where it says none."""
    adapter, interface = str(model.terms["verifier"]), interfaces.interface(wanted.adapter)
    if wanted.contract.interface == SHARED:
        return str(chain.network.view(adapter, interface, "verifier"))
    kept = str(chain.network.view(adapter, interface, "stored", model.terms["verifyingKey"]))
    material = chain.network.code(kept)[1:] if int(kept, 16) else b""
    contract = layout.dedicated_contract(material) if keccak(material) == model.terms["verifyingKey"] else None
    if contract is None:
        raise InvalidProof("the adapter keeps no contract under the model's verifying key")
    return contract


def evidence(source: ExportsEvmVerifier, key: VerifyingKey, proof: Proof) -> tuple[Any, ...]:
    """Return a proof as the registry takes it, with the circuit's words left out: the adapter has them."""
    parts = source.evm_proof(key, proof)
    return (b"", parts.proof, list(parts.public_values))


def genuine(chain: EvmChain, model: Model, wanted: Checkable) -> None:
    """Raise InvalidProof unless the model's verifier is the adapter that this plugin brings, over the known contract.

    Whoever registers a model names its verifier: one that says yes to everything is what a cheat would name.
    """
    registry, address = chain.network.registry, str(model.terms["verifier"])
    if not artifact("BalanceRegistry").matches(chain.network.code(registry)):
        raise InvalidProof(f"the contract {registry} is not the registry that balance-evm knows")
    if not artifact(wanted.adapter).matches(chain.network.code(address)):
        raise InvalidProof(f"the verifier {address} is not the adapter that balance-evm knows")
    contract = _contract(chain, model, wanted)
    runtime = chain.network.code(contract)
    if not runtime or not _is_compiled(chain, wanted, runtime):
        raise InvalidProof(f"the contract {contract} behind the verifier is not that of {wanted.contract.version}")
    if model.terms["verifyingKey"] != keccak(wanted.material(chain, contract)):
        raise InvalidProof("the registry has another verifying key for this model than its circuit's")
