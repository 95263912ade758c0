"""The contracts that check proofs: deployed once for each proof system, told of each circuit once.

Nothing of a backend is known here: it exports a contract's source, a circuit's words and a proof's parts
(`ExportsEvmVerifier`), and the registry's adapter for that kind of contract does the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core import registry as plugins
from balance_core.contracts import ExportsEvmVerifier
from balance_core.errors import ChainError, InvalidProof, PluginNotFound
from balance_core.files import read_limited, write_whole
from balance_evm import fees, interfaces
from balance_evm.deployments import VerifierPair
from balance_evm.sender import Transaction

if TYPE_CHECKING:
    from balance_core.contracts import EvmCircuit, EvmContract
    from balance_core.records import Proof, Registration, VerifyingKey
    from balance_evm.chain import EvmChain
    from balance_evm.chronicle import Model

ADAPTERS = {"ezkl-reusable": "EzklReusable"}
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
    material: bytes
    """What the adapter's key is the digest of."""

    @property
    def name(self) -> str:
        """The SHA-256 of the contract's source."""
        return hashlib.sha256(self.contract.source.encode()).hexdigest()

    @property
    def adapter(self) -> str:
        """The name of the adapter for the contract."""
        return ADAPTERS[self.contract.interface]

    @property
    def key(self) -> bytes:
        """The adapter's key."""
        from eth_utils.crypto import keccak

        return bytes(keccak(self.material))


def exporter(backend: str) -> ExportsEvmVerifier | None:
    """Return a backend that exports an EVM verifier, or None where the installed one does not."""
    try:
        found = plugins.create("backends", backend)
    except PluginNotFound:
        return None
    return found if isinstance(found, ExportsEvmVerifier) else None


def checkable(source: ExportsEvmVerifier, key: VerifyingKey, registration: Registration) -> Checkable:
    """Return a verifying key as contracts take it; raises ChainError for a kind of contract that is unknown here."""
    contract, circuit = source.evm_contract(key), source.evm_circuit(key)
    if contract.interface not in ADAPTERS:
        raise ChainError(
            f"contracts of the kind {contract.interface!r} are unknown to this version of balance-evm",
            hint="pip install --upgrade balance-evm",
        )
    from balance_evm import layout

    tensors = [[(one.form, one.low, one.high) for one in group] for group in (circuit.inputs, circuit.outputs)]
    read = layout.layout(registration.circuit_id, registration.commitment_id, *tensors)
    return Checkable(contract, circuit, layout.reusable(read, circuit.words, circuit.proof_bytes))


def compiled(chain: EvmChain, wanted: Checkable) -> bytes:
    """Return the contract's creation code, compiled on this machine, once."""
    path = chain.network.folder / "compiled" / f"{wanted.name}.bin"
    if path.exists():
        return read_limited(path, max_size=_MAX_CODE_BYTES, what="compiled contract")
    from balance_evm.compile import compile_source

    code = compile_source(wanted.contract.name, wanted.contract.source)
    write_whole(path, code)
    return code


def _is_compiled(chain: EvmChain, wanted: Checkable, runtime: bytes) -> bool:
    """Say whether code on the chain is what the pinned compiler makes of the source."""
    known = KNOWN_CODE.get(wanted.name)
    if known is not None:
        return hashlib.sha256(runtime).hexdigest() == known
    return compiled(chain, wanted).endswith(runtime)


def deployed(chain: EvmChain, wanted: Checkable) -> VerifierPair:
    """Return the contract and its adapter on this chain; they are deployed if they are not there yet."""
    place = chain.network.deployments
    with place.deploying():
        known = place.read()
        found = known.verifiers.get(wanted.name)
        if found is not None and chain.network.code(found.adapter) and chain.network.code(found.contract):
            return found
        version = wanted.contract.version
        contract = create(chain, f"the verifier of {version}", compiled(chain, wanted))
        from balance_evm.artifacts import artifact

        adapter = interfaces.interface(wanted.adapter).creation(artifact(wanted.adapter).bytecode, contract)
        pair = VerifierPair(
            contract=contract, adapter=create(chain, f"the adapter of {version}", adapter), version=version
        )
        place.write(known.model_copy(update={"verifiers": {**known.verifiers, wanted.name: pair}}))
        return pair


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
    bound = int(str(model.terms["verifier"]), 16) != 0
    if bound:
        check_bound(model, wanted)
        return model
    pair = deployed(chain, wanted)
    adapter = interfaces.interface(wanted.adapter)
    prepare = adapter.call("prepare", wanted.material, True)
    chain.writer.perform(Transaction("telling the verifier of the circuit", pair.adapter, prepare))
    call = interfaces.registry().call("bindVerifier", model.name, pair.adapter, wanted.key, cid)
    chain.writer.perform(Transaction("binding the model to its verifier", chain.network.registry, call))
    return chain.chronicle().models[model.name]


def check_bound(model: Model, wanted: Checkable) -> None:
    """Raise ChainError unless the registered verifying key is that of the circuit."""
    if model.terms["verifyingKey"] != wanted.key:
        raise ChainError(
            "the registry has another verifying key for this model than its circuit's",
            hint="register a new version: a verifier is bound once",
        )


def evidence(source: ExportsEvmVerifier, key: VerifyingKey, proof: Proof) -> tuple[Any, ...]:
    """Return a proof as the registry takes it, with the circuit's words left out: the adapter has them."""
    parts = source.evm_proof(key, proof)
    return (b"", parts.proof, list(parts.public_values))


def genuine(chain: EvmChain, model: Model, wanted: Checkable) -> None:
    """Raise InvalidProof unless the model's verifier is the adapter that this plugin brings, over the known contract.

    Whoever registers a model names its verifier: one that says yes to everything is what a cheat would name.
    """
    from balance_evm.artifacts import artifact

    registry, address = chain.network.registry, str(model.terms["verifier"])
    if not artifact("BalanceRegistry").matches(chain.network.code(registry)):
        raise InvalidProof(f"the contract {registry} is not the registry that balance-evm knows")
    if not artifact(wanted.adapter).matches(chain.network.code(address)):
        raise InvalidProof(f"the verifier {address} is not the adapter that balance-evm knows")
    contract = chain.network.view(address, interfaces.interface(wanted.adapter), "verifier")
    runtime = chain.network.code(str(contract))
    if not runtime or not _is_compiled(chain, wanted, runtime):
        raise InvalidProof(f"the contract {contract} behind the verifier is not that of {wanted.contract.version}")
    if model.terms["verifyingKey"] != wanted.key:
        raise InvalidProof("the registry has another verifying key for this model than its circuit's")
