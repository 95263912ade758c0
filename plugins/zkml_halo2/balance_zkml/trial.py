"""One model and one input, from file to verified proof in this process, with the time of each part."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.integer.checking import check_proof
from balance_core.integer.interface import STRUCTURE_PART, structure_bytes
from balance_core.integer.proving import IntegerRequest
from balance_core.records import ModelCommitment, Proof, VerifyingKey
from balance_core.srs import CURVE, SrsStore
from balance_core.workspace import Workspace
from balance_zkml import NAME, native
from balance_zkml.backend import powers
from balance_zkml.verifier import KEY_PART, Halo2Verifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.integer.model import IntegerModel
    from balance_core.records import Statement
    from balance_zkml.settings import Halo2Settings

NOBODY = bytes(32)
"""The provider of a commitment that is tried and never registered."""


@dataclass
class Trial:
    """What proving one answer made, and how long each part took."""

    key: VerifyingKey
    commitment: ModelCommitment | None
    proof: Proof
    statement: Statement
    k: int
    seconds: dict[str, float] = field(default_factory=dict)


def load(model: Path, inputs: Path, settings: Halo2Settings) -> tuple[IntegerModel, IntegerRequest]:
    """Read a model and its first input, of any format that a converter reads, under a fresh context."""
    from balance_core.execution import prepare
    from balance_core.integer.executor import checked_integers
    from balance_core.model.integers import quantised

    prepared, batch = prepare(model, inputs=inputs, settings=settings)
    integer = prepared.integer
    if not batch:
        raise ConfigError(f"{inputs.name} holds no input", hint="give an inp.msgpack or a .npy file")
    given = checked_integers(integer, quantised(integer, {name: array[:1] for name, array in batch.items()}))
    blind = os.urandom(32) if settings.inputs == "private" else None
    return integer, IntegerRequest(os.urandom(32), tuple(given[place][0] for place, _ in integer.inputs), blind)


def run(integer: IntegerModel, request: IntegerRequest, settings: Halo2Settings) -> Trial:
    """Set up, commit, prove and verify, and compare the answer with the executor's; raises the errors of these."""
    from balance_core.integer.encoding import encode_weights

    seconds: dict[str, float] = {}
    structure, values = structure_bytes(integer), encode_weights(integer)
    public = settings.weights == "public"
    with tempfile.TemporaryDirectory(prefix="balance-zkml-") as folder:
        with _clock(seconds, "layout"):
            plan = _plan(structure, settings)
        with _clock(seconds, "params"):
            string = _string(plan.k, Path(folder))
        with _clock(seconds, "keys"):
            given = values if public else None
            native_key, _ = native.setup(structure, string, _secrets(settings), k=plan.k, values=given)
        key = VerifyingKey(NAME, {KEY_PART: native_key, STRUCTURE_PART: structure})
        commitment, opening = None, None
        if not public:
            with _clock(seconds, "commitment"):
                data, opening = native.commit(structure, values, native_key, string, NOBODY)
            commitment = ModelCommitment(backend=NAME, provider=NOBODY.hex(), data=data.hex())
        with _clock(seconds, "proving key"):
            prover = native.Prover(structure, values, native_key, string, opening=opening)
        with _clock(seconds, "proof"):
            inputs = [array.reshape(-1).tolist() for array in request.inputs]
            proof = prover.prove(request.context, inputs, blind=request.blind)
    made = Proof(NAME, proof)
    with _clock(seconds, "verification"):
        Halo2Verifier().verify(key, commitment, made)
    (statement,) = check_proof(Halo2Verifier(), key, commitment, made, integer=integer, requests=[request])
    return Trial(key, commitment, made, statement, plan.k, seconds)


def _plan(structure: bytes, settings: Halo2Settings) -> native.Plan:
    try:
        return native.plan(structure, _secrets(settings))
    except ValueError as error:
        raise ConfigError(f"the model cannot be proven: {error}") from error


def _secrets(settings: Halo2Settings) -> dict[str, str]:
    return {"weights": settings.weights, "inputs": settings.inputs}


def _string(k: int, folder: Path) -> Path:
    """Return a reference string of exactly 2^k powers from the store, where a test one is made if there is none."""
    store = SrsStore(Workspace.default().srs)
    found = store.find(CURVE, k) or store.make(CURVE, k, partial(native.make_test_srs, k))
    if powers(found.path) == k:
        return found.path
    target = folder / "cut.srs"
    native.import_srs(found.path, target, power=k, ceremony=False)
    return target


@contextmanager
def _clock(seconds: dict[str, float], part: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - start
