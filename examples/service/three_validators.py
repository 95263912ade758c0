"""Three validators watch a ledger: one is slow, and one signs what is false.

A provider publishes two proofs. One is right. Of the other it claims another answer than the bundle proves. Each
validator has a key, a memory and a process of its own. A reader who trusts the three, and takes the word of two, gets
the right state; and the false words stand on the ledger under the liar's key, for everybody to see.

    python examples/service/three_validators.py [BACKEND]
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import balance_core
from balance_core import registry
from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.bundle import Bundle
from balance_core.chain import Attestation, ProofRecord
from balance_core.keys import KeyStore
from balance_core.provider import EXAMPLE
from balance_core.service.validator.status import read_status
from balance_core.service.validator.store import Store
from balance_core.workspace import Workspace

# The bundled example has a setup made for tests; and `integer` is not sound. A validator says nothing of such proofs
# unless it is told to: here it is told, so that there is something to see.
POLICY = ["-o", "validator.insecure_setup=attest", "-o", "validator.unsound=attest"]


def publish(backend: str) -> dict[str, ProofRecord]:
    """Prove two answers, and publish one of them as another than it is."""
    digits = EXAMPLE / "digits.npz"
    honest = balance_core.run(EXAMPLE / "mnist_mlp.onnx", digits, backend=backend)
    other = balance_core.run(EXAMPLE / "mnist_mlp.onnx", digits, index=1, backend=backend, chain=None, storage=None)
    bundle = Bundle.read(other.folder / "proof.balance")
    statement = other.receipt.statement
    claimed = statement.outputs[0].model_copy(update={"integers": statement.outputs[0].integers[::-1]})
    false = statement.model_copy(update={"outputs": (claimed,)})
    record = ProofRecord(
        registration_id=bundle.registration_id,
        context=statement.context,
        inputs_digest=statement.inputs_digest,
        statement_digest=false.digest,
        bundle=registry.create("storage", "local").put(io.BytesIO(bundle.to_bytes())),
    )
    Ledger().submit(record, key="false")
    proofs = {event.record["context"]: event for event in Ledger().events() if event.type == "submitted"}
    right = ProofRecord.from_value(proofs[honest.receipt.statement.context].record)
    return {"the right proof": right, "the false one": record}


def validate(name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a validator with a key and a memory of its own, until it has checked all proofs."""
    memory = str(Path(os.environ["BALANCE_HOME"]) / f"{name}.db")
    command = [sys.executable, "-m", "balance_core.cli", "validator", "run", "--until-done", "--quiet"]
    command += ["-o", f"chain.key={name}", "--memory", memory, *POLICY, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main(backend: str) -> None:
    """Publish, lie, validate, and show what readers make of it."""
    print(f"A provider publishes a proof by {backend}, and one whose answer it claims falsely.")
    records = publish(backend)

    store = KeyStore(Workspace.default().keys)
    keys = {name: store.create(name).public for name in ("liar", "quick", "slow")}
    print("The liar comes first, and says the opposite of what is so.")
    book = Ledger(LedgerSettings(key="liar"))
    for (name, record), valid in zip(records.items(), (False, True), strict=True):
        word = Attestation(
            proof_id=record.proof_id, statement_digest=record.statement_digest, valid=valid, validator=keys["liar"]
        )
        book.attest(word, key=f"lie about {name}")

    print("Two honest validators check; one of them takes its time.")
    started = [validate("quick"), validate("slow", "-o", "validator.workers=1", "-o", "validator.poll_seconds=3")]
    for process in started:
        assert process.wait() == 0  # noqa: S101 - the example is at its end otherwise

    state = Ledger().state()
    honest = [keys["quick"], keys["slow"]]
    for name, record in records.items():
        proof = state.proofs[record.proof_id]
        words = {who: str(proof.verdicts[key]) for who, key in keys.items()}
        print(f"  {name}: {words}")
        all_three = proof.status(keys.values(), 2)
        print(f"    for who trusts the honest two: {proof.status(honest, 2)}; all three: {all_three}")

    memory = Store(Path(os.environ["BALANCE_HOME"]) / "quick.db", read_only=True)
    status = read_status(memory)
    memory.close()
    print(f"The quick one has seen {status.false_words} false words:")
    for one in status.disagreements:
        who = next(name for name, key in keys.items() if key == one.validator)
        print(f"  the {who} says {'valid' if one.said[0] else 'invalid'} of {one.proof_id[:16]}..., which is not so")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["BALANCE_HOME"] = home
        main(sys.argv[1] if len(sys.argv) > 1 else "zkml_halo2")
