"""ezkl's half of checking proofs on an EVM chain: its reusable contract, a circuit's words, and a proof's parts.

The contract is one for all circuits of a release of ezkl. What it checks less than `EzklVerifier` does (the ranges of
public values, the length of the proof) is exported beside it, for the chain's own contract to check.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.bn254 import R
from balance_core.contracts import EvmCircuit, EvmContract, EvmProof, EvmTensor
from balance_core.errors import InvalidProof, NodeIssue, ToolFailed, UnsupportedModel
from balance_ezkl import NAME, container, evm_tool, witness
from balance_ezkl.field import OUTPUT_LIMIT
from balance_ezkl.key import ReadKey, read_key
from balance_ezkl.tool import EZKL_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.records import Proof, TensorSpec, VerifyingKey

CONTRACT, INTERFACE = "Halo2VerifierReusable", "ezkl-reusable"
DEDICATED_CONTRACT, DEDICATED_INTERFACE = "Halo2Verifier", "ezkl-dedicated"
SOURCE_DIGEST = "b426d5f31e2f9d327baac7d9415dd135df06a6d2628f971ae7446c4bffbcd80f"
"""SHA-256 of the contract's source: ezkl 23.0.5 writes the same one for every circuit."""
WORD = 32
_POINT = 64
LAST_OFFSET = 0xFFFF
"""The contract reads a proof's words at offsets of 16 bits into the calldata, and a circuit's into its memory."""
_PROOF_OFFSET = 0x84
"""Where a proof starts in calldata of verifyProof(bytes,uint256[],bytes32[])."""
_WORDS_OFFSET = 0xA0
"""Where the contract's memory holds the circuit's words."""
_INSTANCES, _EVALUATIONS, _ROUNDS = 2, 3, 33
"""Which word says how many public values and evaluations there are, and where the description of rounds begins."""


def contract(key: VerifyingKey) -> EvmContract:
    """Return the reusable contract; raises ToolFailed if ezkl wrote another than the one that is known."""
    return EvmContract(CONTRACT, INTERFACE, f"ezkl {EZKL_VERSION}", _exported(key).reusable)


def dedicated(key: VerifyingKey) -> EvmContract:
    """Return the contract that ezkl generates for this circuit alone."""
    name = f"ezkl {EZKL_VERSION} for the circuit {key.circuit_id[:16]}"
    return EvmContract(DEDICATED_CONTRACT, DEDICATED_INTERFACE, name, _exported(key).dedicated)


def circuit(key: VerifyingKey) -> EvmCircuit:
    """Return what the contract is told of a circuit; raises UnsupportedModel for one that is too large for it."""
    judged = read_key(key.parts)
    data = _exported(key).words
    words = [int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD)]
    if len(words) <= _ROUNDS or words[_INSTANCES] != judged.settings.instances:
        raise ToolFailed("ezkl exported words that are not of this circuit")
    length = _proof_bytes(words)
    if _PROOF_OFFSET + length > LAST_OFFSET or _WORDS_OFFSET + len(data) > LAST_OFFSET:
        reason = f"the contract reads {LAST_OFFSET} bytes, a proof has {length} and the circuit's words {len(data)}"
        mend = "set it up with fewer columns: -o num_inner_cols=1"
        issue = NodeIssue("the circuit", "ezkl", reason, mend)
        raise UnsupportedModel("the circuit is too large for ezkl's contract", issues=[issue])
    inputs, outputs = _tensors(judged)
    return EvmCircuit(words=data, proof_bytes=length, inputs=inputs, outputs=outputs, modulus=R)


def proof_parts(key: VerifyingKey, proof: Proof) -> EvmProof:
    """Return a proof's parts; raises InvalidProof for what is not the encoding of a proof of this circuit."""
    if key.backend != NAME or proof.backend != NAME:
        raise InvalidProof(f"key and proof are of {key.backend} and {proof.backend}, not of {NAME}")
    contents = container.decode(proof.data, instances=read_key(key.parts).settings.instances)
    return EvmProof(contents.proof, contents.instances)


def _tensors(key: ReadKey) -> tuple[tuple[EvmTensor, ...], tuple[EvmTensor, ...]]:
    """Return how inputs and outputs are read, with what `EzklVerifier` asks of them."""
    settings = key.settings

    def described(specs: Sequence[TensorSpec], scales: Sequence[int], limit: int) -> tuple[EvmTensor, ...]:
        forms = witness.tensors(specs, scales, [[0] * spec.size for spec in specs])
        limits = [(0, 1) if spec.dtype == "bool" else (1 - limit, limit - 1) for spec in specs]
        return tuple(EvmTensor(form, low, high) for form, (low, high) in zip(forms, limits, strict=True))

    return (
        described(settings.balance.inputs, settings.input_scales, settings.run_args.limit),
        described(settings.balance.outputs, settings.output_scales, OUTPUT_LIMIT),
    )


def _proof_bytes(words: list[int]) -> int:
    """Return the length of a proof: points in rounds, evaluations, and the two points of the opening.

    A word of the description holds its rounds from the low end, two bytes for the points' length and one for the
    number of challenges; the first word has the number of words before them.
    """
    count, rest = words[_ROUNDS] & 0xFF, words[_ROUNDS] >> 8
    length = words[_EVALUATIONS] * WORD + 2 * _POINT
    for index in range(1, count + 1):
        while rest:
            length += rest & 0xFFFF
            rest >>= 24
        rest = words[_ROUNDS + index] if _ROUNDS + index < len(words) else 0
    return length


@dataclass(frozen=True)
class _Export:
    """What ezkl writes for a circuit."""

    reusable: str
    dedicated: str
    words: bytes


def _exported(key: VerifyingKey) -> _Export:
    return _export(tuple(sorted(key.parts.items())))


@lru_cache(maxsize=4)
def _export(parts: tuple[tuple[str, bytes], ...]) -> _Export:
    judged = read_key(dict(parts))
    with tempfile.TemporaryDirectory(prefix="balance-ezkl-") as name:
        folder = Path(name)
        (folder / evm_tool.KEY).write_bytes(judged.key)
        (folder / evm_tool.SETTINGS).write_bytes(judged.ezkl_settings)
        (folder / evm_tool.SRS).write_bytes(judged.parameters.cut)
        evm_tool.run(folder)
        try:
            found = [(folder / file).read_bytes() for file in (evm_tool.SOURCE, evm_tool.DEDICATED, evm_tool.WORDS)]
        except OSError as error:
            raise ToolFailed(f"ezkl exported nothing: {error.strerror}") from error
    reusable, dedicated, words = found
    if hashlib.sha256(reusable).hexdigest() != SOURCE_DIGEST:
        raise ToolFailed(
            "ezkl wrote another contract than the one that is known",
            hint=f"pip install --force-reinstall ezkl=={EZKL_VERSION}",
        )
    count = int.from_bytes(words[:8], "little")
    if len(words) != 8 + count * WORD:
        raise ToolFailed(f"ezkl wrote {len(words)} bytes where {count} words were announced")
    return _Export(reusable.decode(), dedicated.decode(), words[8:])
