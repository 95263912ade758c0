"""Checks ezkl proofs from bytes alone: the key's parts, the proof, and a temporary folder for ezkl to read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.contracts import Verifier
from balance_core.errors import InvalidProof
from balance_core.records import Statement, Tensor, TensorSpec
from balance_ezkl import NAME, container, field
from balance_ezkl.field import LIMB_BITS, OUTPUT_LIMIT
from balance_ezkl.key import CONTEXT, ReadKey, read_key
from balance_ezkl.tool import EzklFailed, call, ezkl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from balance_core.records import ModelCommitment, Proof, SetupTrust, VerifyingKey


class EzklVerifier(Verifier):
    """Verifies with ezkl, and believes nothing but the public values that the proof authenticates."""

    api_version = 1
    sound = True

    @classmethod
    def warm_up(cls, stage: str) -> None:
        """Import ezkl."""
        del stage
        ezkl()

    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        """`ceremony` where the key's s_g2 is a pinned one; raises InvalidProof for a broken key."""
        return read_key(key.parts).parameters.setup_trust

    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        """Return the one statement of the proof; raises InvalidProof with the reason."""
        if key.backend != NAME or proof.backend != NAME:
            raise InvalidProof(f"key and proof are of {key.backend} and {proof.backend}, not of {NAME}")
        if commitment is not None:
            raise InvalidProof(
                "ezkl circuits bind their weights by the verifying key: there is no commitment to them"
            )
        judged = read_key(key.parts)
        contents = container.decode(proof.data, instances=judged.settings.instances)
        statement = _statement(judged, contents.instances, key.circuit_id)
        with tempfile.TemporaryDirectory(prefix="balance-ezkl-") as folder:
            check(judged, contents, Path(folder))
        return (statement,)


def check(key: ReadKey, contents: container.Contents, folder: Path) -> None:
    """Raise InvalidProof unless ezkl accepts the proof, to its last byte, for these public values."""
    proof, settings, vk, srs = (folder / name for name in ("proof.json", "settings.json", "vk.key", "kzg.srs"))
    settings.write_bytes(key.ezkl_settings)
    vk.write_bytes(key.key)
    srs.write_bytes(key.parameters.cut)

    def accepts(data: bytes) -> str | None:
        """Return None if ezkl accepts these bytes as the proof, or why it does not."""
        document = {
            "protocol": None,
            "instances": [field.encode_all(contents.instances)],
            "proof": list(data),
            "hex_proof": None,
            "split": None,
            "pretty_public_inputs": None,
            "timestamp": None,
            "version": None,
        }
        proof.write_text(json.dumps(document), encoding="ascii")
        try:
            call("verify", str(proof), str(settings), str(vk), str(srs), reduced_srs=True)
        except EzklFailed as error:
            if "os error" in error.reason:
                raise
            return error.reason
        return None

    reason = accepts(contents.proof)
    if reason is not None:
        raise InvalidProof(f"the proof does not verify: {reason}")
    # ezkl does not look at what follows a proof: then the proof without its last byte would be one as well.
    if accepts(contents.proof[:-1]) is None:
        raise InvalidProof("bytes follow the proof")


def _statement(key: ReadKey, residues: Sequence[int], circuit_id: str) -> Statement:
    """Decode the public values: context, inputs, outputs; raises InvalidProof for values out of their range.

    A circuit may leave it to its verifier that inputs stay in the range of checked values. Outputs follow
    from such values, and are what they seem as long as they are far below the field's order.
    """
    values = iter(residues)
    context = _context(_take(values, CONTEXT))

    def tensors(specs: Sequence[TensorSpec], scales: Sequence[int], limit: int) -> tuple[Tensor, ...]:
        pairs = zip(specs, scales, strict=True)
        return tuple(_tensor(spec, scale, _take(values, spec), limit) for spec, scale in pairs)

    settings = key.settings
    return Statement(
        circuit_id=circuit_id,
        context=context,
        inputs=tensors(settings.balance.inputs, settings.input_scales, settings.run_args.limit),
        outputs=tensors(settings.balance.outputs, settings.output_scales, OUTPUT_LIMIT),
    )


def _take(values: Iterator[int], spec: TensorSpec) -> list[int]:
    return [next(values) for _ in range(spec.size)]


def _context(limbs: Sequence[int]) -> str:
    size = LIMB_BITS // 8
    if any(limb >= 1 << LIMB_BITS for limb in limbs):
        raise InvalidProof("the proof's context does not consist of 16-bit limbs")
    return b"".join(limb.to_bytes(size, "big") for limb in limbs).hex()


def _tensor(spec: TensorSpec, scale: int, residues: Sequence[int], limit: int) -> Tensor:
    """Read a tensor; raises InvalidProof for values that no run of the circuit has."""
    integers = tuple(field.signed(residue) for residue in residues)
    if any(abs(value) >= limit for value in integers):
        raise InvalidProof(f"the proof's {spec.name!r} holds a value that is out of range")
    if spec.dtype == "bool" and any(value not in {0, 1} for value in integers):
        raise InvalidProof(f"the proof's {spec.name!r} holds a truth value that is neither 0 nor 1")
    return Tensor(name=spec.name, shape=spec.shape, integers=integers, denominator=1 << scale)
