"""The whole path with a real prover: runs, registrations, bundles, and what is said about them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import balance_core as balance
from balance_core import registering
from balance_core.builtin.ledger import Ledger
from balance_core.contracts import ProofBackend
from balance_core.errors import ConfigError, InvalidProof, Rejected, StageOutOfMemory, StageTimeout
from balance_core.hookspecs import hookimpl
from balance_core.stages import Estimate, Limits
from balance_core.workspace import Workspace

CONTEXT = bytes(range(32))


@pytest.fixture(scope="module")
def run(tiny, used_home):
    assert used_home
    return balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", index=2, context=CONTEXT)


@pytest.fixture
def expected(tiny):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tiny / "tiny.onnx"))
    return session.run(None, {session.get_inputs()[0].name: np.load(tiny / "x.npy")[2:3]})[0]


def test_the_statement_is_about_this_request_and_close_to_the_float_answer(run, tiny, expected):
    statement = run.statement
    assert statement.context == CONTEXT.hex()
    assert np.abs(statement.inputs[0].real() - np.load(tiny / "x.npy")[2:3]).max() < 0.5
    (answer,) = run.outputs.values()
    assert np.abs(answer - expected).max() <= run.receipt.fidelity.largest_error
    assert statement.circuit_id == run.receipt.registration.circuit_id


def test_the_receipt_says_what_a_reader_must_know(run):
    receipt = run.receipt
    assert [stage.stage for stage in receipt.stages] == ["convert", "check", "setup", "execute", "prove", "verify"]
    assert all(stage.measurement.peak_memory_bytes > 2**20 for stage in receipt.stages)
    assert receipt.fidelity.samples == 8
    assert receipt.model.rewrite_difference < 1e-5
    assert any("insecure-test" in note for note in receipt.notes)
    assert receipt.registration.model_id == receipt.model.model_id
    assert type(receipt).from_json((run.folder / "receipt.json").read_bytes()) == receipt


def test_the_events_of_a_run_are_on_file(run):
    events = [json.loads(line)["event"] for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"


def test_a_second_run_takes_the_setup_from_the_cache_and_keeps_the_registration(run, tiny):
    again = balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl")
    cached = {stage.stage: stage.cached for stage in again.receipt.stages}
    assert cached == {
        "convert": False,
        "check": True,
        "setup": True,
        "execute": False,
        "prove": False,
        "verify": False,
    }
    assert again.receipt.registration == run.receipt.registration
    assert again.statement.context != run.statement.context


def test_another_model_under_the_same_name_is_its_next_version(run, tiny):
    name = "versions"
    first = balance.setup(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", name=name).registration
    second = balance.setup(tiny / "twin.onnx", tiny / "x.npy", backend="ezkl", name=name).registration
    assert (first.version, second.version, second.previous) == (1, 2, first.registration_id)
    assert registering.find(Workspace.default(), name).registration == second
    assert first.circuit_id == run.receipt.registration.circuit_id != second.circuit_id


def test_arrays_and_names_do_as_well_as_files(run, tiny):
    x = np.load(tiny / "x.npy")
    proven = balance.prove(run.receipt.registration.name, {"x": x}, index=2)
    assert proven.statement.outputs == run.statement.outputs
    answered = balance.execute(run.receipt.registration.registration_id, x)
    assert answered.answers[2] == run.statement.outputs
    assert answered.fidelity == run.receipt.fidelity


def test_what_is_verified_depends_on_who_vouches(run, used_home):
    registration = run.receipt.registration
    alone = balance.verify(run.bundle)
    assert alone.vouched_by == ()
    assert "nobody" in alone.vouched
    assert balance.verify(run.bundle, registration=registration.registration_id).vouched_by
    assert balance.verify(run.bundle.read_bytes(), registration=registration).statements == (run.statement,)
    by_ledger = balance.verify(run.bundle, chain="ledger", chain_settings={"path": str(used_home / "ledger.db")})
    assert by_ledger.vouched_by[0].chain == "ledger"
    with pytest.raises(InvalidProof, match="not of"):
        balance.verify(run.bundle, registration="0" * 64)


def test_a_stranger_verifies_without_the_providers_folder(run, tmp_path):
    bundle = tmp_path / "proof.balance"
    balance.write_bundle(run.receipt.run_id, bundle)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "balance_core.cli",
            "verify",
            str(bundle),
            "--json",
            "-r",
            run.receipt.registration.registration_id,
        ],
        env={"BALANCE_HOME": str(tmp_path / "empty"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["statements"][0]["context"] == CONTEXT.hex()
    assert not list((tmp_path / "empty").rglob("*.balance"))


@pytest.mark.parametrize("member", ["proof", "key"])
def test_a_changed_bundle_is_never_valid(run, member):
    data = bytearray(run.bundle.read_bytes())
    bundle = balance.read_bundle(run.bundle)
    part = bundle.proof.data if member == "proof" else bundle.key.parts["key"]
    place = bytes(data).index(part[-64:]) + 17
    data[place] ^= 1
    with pytest.raises(balance.BalanceError) as caught:
        balance.verify(bytes(data))
    assert caught.value.exit_code in (1, 2)


def test_reproducing_tells_the_model_from_its_twin(run, tiny):
    same = balance.reproduce(tiny / "tiny.onnx", run.bundle)
    assert same.agrees
    assert same.circuit_id == run.receipt.registration.circuit_id
    twin = balance.reproduce(tiny / "twin.onnx", run.bundle)
    assert not twin.agrees
    assert twin.model_id != same.model_id


def test_a_revoked_name_is_refused_before_anything_is_proven(run, tiny, used_home):
    assert run
    registered = balance.setup(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", name="gone")
    from balance_core.chain import Revocation

    Ledger().revoke(Revocation(registration_id=registered.registration.registration_id), key="revoke")
    with pytest.raises(Rejected, match="revoked") as caught:
        balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", name="gone")
    assert "--name" in caught.value.hint
    assert Ledger().verify().head.length > 2
    assert used_home


def test_a_test_setup_goes_to_no_chain_that_others_rely_on(run, tiny, monkeypatch):
    assert run
    monkeypatch.setattr(Ledger, "local", False)
    with pytest.raises(ConfigError, match="insecure-test"):
        balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", name="public")
    allowed = balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", name="public", allow_insecure_test=True)
    assert allowed.receipt.registration.setup_trust.is_test_only


def test_a_model_that_will_not_fit_is_refused_before_anything_is_spent(run, tiny, monkeypatch):
    assert run
    from balance_core.pipeline import Pipeline
    from balance_core.stages import Support

    monkeypatch.setattr(Pipeline, "check", lambda *_: Support(estimate=Estimate(memory_bytes=2**50)))
    options = {"backend": "ezkl", "settings": {"min_agreement": 0.987}, "chain": None, "storage": None}
    with pytest.raises(StageOutOfMemory, match=r"expected to need 1048576\.0 GiB") as caught:
        balance.run(tiny / "tiny.onnx", tiny / "x.npy", **options)
    assert "--force" in caught.value.hint
    assert balance.run(tiny / "tiny.onnx", tiny / "x.npy", force=True, **options).statement


def test_limits_hold_for_a_real_prover(run, tiny):
    assert run
    with pytest.raises(StageTimeout):
        balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", limits=Limits(seconds=0.01))
    with pytest.raises(StageOutOfMemory):
        balance.run(tiny / "tiny.onnx", tiny / "x.npy", backend="ezkl", limits=Limits(memory_bytes=2**20))


def test_two_runs_at_once_share_one_setup(tiny, tmp_path):
    command = [
        sys.executable,
        "-m",
        "balance_core.cli",
        "run",
        "tiny.onnx",
        "-i",
        "x.npy",
        "--backend",
        "ezkl",
        "--json",
    ]
    environment = {"BALANCE_HOME": str(tmp_path / "home"), "PATH": ""}
    both = [
        subprocess.Popen(command, cwd=tiny, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    receipts = [json.loads(out) for out, _ in outputs]
    assert receipts[0]["registration"] == receipts[1]["registration"]
    assert sorted(
        stage["cached"] for receipt in receipts for stage in receipt["stages"] if stage["stage"] == "setup"
    ) == [
        False,
        True,
    ]


def test_an_observer_that_fails_does_not_stop_the_run(run, tiny):
    seen = []

    class Observer:
        @hookimpl
        def stage_finished(self, stage):
            seen.append(stage.stage)
            raise ZeroDivisionError

    assert balance.prove(run.receipt.registration.name, tiny / "x.npy", observers=[Observer()]).statement
    assert seen[-1] == "verify"


def test_a_proof_of_another_answer_than_was_executed_is_caught(run, tiny, monkeypatch):
    from balance_core.session import Session

    honest = Session.execute

    def lying(self, preparation, converted):
        execution = honest(self, preparation, converted)
        return execution.model_copy(update={"answers": execution.answers[::-1]})

    monkeypatch.setattr(Session, "execute", lying)
    with pytest.raises(balance.BalanceError, match="another answer"):
        balance.prove(run.receipt.registration.name, tiny / "x.npy", index=2)


def test_the_default_commitment_needs_no_stage():
    from balance_core import registry

    assert registry.load("backends", "ezkl").commit is ProofBackend.commit
