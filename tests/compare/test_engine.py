"""Comparing: the same for all, in turns, one file a cell, and nothing done twice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from balance_core.compare import engine, loading, machine
from balance_core.compare.results import Status
from balance_core.compare.subjects import Subject
from balance_core.errors import ConfigError, PluginNotFound
from balance_core.testing import models

pytestmark = pytest.mark.slow
NAMES = ("first", "second", "last")
MOCKS = {name: (f"compare_mock:{name.title()}", "compare_mock:MockVerifier") for name in (*NAMES, "stringy")}
CONTENDERS = [engine.Contender(name) for name in NAMES]


class Steps(engine.Silent):
    """Notes the order of what is told."""

    def __init__(self):
        self.steps = []
        self.written = []

    def coverage(self, cells):
        self.steps.append(("coverage", sorted(cell.choice.backend.record.name for cell in cells)))

    def step(self, done, total, cell, what):
        assert 0 <= done < total
        self.steps.append((cell.choice.subject.record.name, cell.choice.backend.record.name, what))

    def ended(self, cell):
        self.written.append(cell.path)


@pytest.fixture(scope="module")
def run(place, small, installed):
    """A comparison of two models on three backends in two rounds."""
    installed(MOCKS)
    options = engine.Options(results=place / "results", repeats=2, threads=1, seed=5)
    steps = Steps()
    subjects = [Subject(small / "one.onnx"), Subject(small / "two.onnx")]
    outcome = engine.compare(subjects, CONTENDERS, options, steps)
    return options, subjects, steps, outcome


def test_every_cell_is_a_file_and_the_path_is_its_key(run):
    options, _, steps, outcome = run
    stored = loading.load(options.results)
    assert len(outcome.measured) == len(stored.cells) == 6
    assert [cell.path for cell in outcome.measured] == steps.written
    for cell in stored.cells:
        assert (options.results / cell.path).is_file()
        assert cell.status is Status.OK, cell.reason
        assert cell.machine in stored.machines


def test_coverage_is_told_before_anything_is_timed(run):
    steps = run[2].steps
    assert steps[0] == ("coverage", sorted(NAMES * 2))


def test_rounds_go_through_all_backends_in_turn(run):
    steps = run[2].steps[1:]
    for start in (0, 6):
        model = {step[0] for step in steps[start : start + 6]}
        first, second = steps[start : start + 3], steps[start + 3 : start + 6]
        assert len(model) == 1
        assert [step[1] for step in first] == [step[1] for step in second]
        assert {step[1] for step in first} == set(NAMES)
        assert {step[2] for step in first} == {"round 1 of 2"}


def test_all_samples_are_kept_with_the_round_that_they_belong_to(run):
    for cell in run[3].measured:
        assert [sample.repeat for sample in cell.samples("prove")] == [0, 1]
        assert [sample.repeat for sample in cell.samples("setup")] == [0, 1]
        assert [sample.repeat for sample in cell.samples("verify")] == [0, 1]
        assert len(cell.samples("execute")) == len(cell.samples("check")) == 1
        assert cell.circuit.reproducible is True


def test_all_backends_get_the_same(run):
    by_model = {}
    for cell in run[3].measured:
        by_model.setdefault(cell.model.name, []).append(cell)
    for cells in by_model.values():
        assert len({(c.model.sha256, c.conditions.to_json(), c.faithfulness.proven, c.seed) for c in cells}) == 1
        assert cells[0].faithfulness.fidelity.samples == 12
        assert cells[0].conditions.threads == 1


def test_every_cell_tampers_with_proof_and_statement(run):
    for cell in run[3].measured:
        assert {attempt.target for attempt in cell.tamperings} == {"proof", "statement"}
        assert all(attempt.rejected for attempt in cell.tamperings)


def test_what_was_measured_is_not_measured_again(run):
    options, subjects, _, outcome = run
    steps = Steps()
    again = engine.compare(subjects, CONTENDERS, options, steps)
    assert not again.measured
    assert {cell.path for cell in again.kept} == {cell.path for cell in outcome.measured}
    assert [step for step in steps.steps if step[0] != "coverage"] == []


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run, place):
    options, subjects, steps, _ = run
    elsewhere = replace(options, results=place / "nothing", dry_run=True)
    planned = engine.compare(subjects, CONTENDERS, elsewhere).planned
    assert set(planned) == set(steps.written)
    assert not (place / "nothing").exists()


def test_failed_cells_stay_unless_they_are_retried(run, place):
    options, subjects, steps, _ = run
    path = options.results / steps.written[0]
    broken = json.loads(path.read_text())
    broken["status"], broken["reason"] = "failed", "it was a bad day"
    kept = replace(options, results=place / "failed")
    (kept.results / path.relative_to(options.results)).parent.mkdir(parents=True)
    (kept.results / path.relative_to(options.results)).write_text(json.dumps(broken))
    name, model = broken["backend"]["name"], broken["model"]["name"]
    which = [subject for subject in subjects if subject.model.stem == model] or subjects[:1]
    stayed = engine.compare(which, [engine.Contender(name)], kept)
    assert [cell.status for cell in stayed.kept] == [Status.FAILED]
    retried = engine.compare(which, [engine.Contender(name)], replace(kept, retry_failed=True))
    assert [cell.status for cell in retried.measured] == [Status.OK]


def test_other_settings_and_conditions_are_other_cells(run):
    options, subjects, steps, _ = run
    for other in (replace(options, threads=2), replace(options, quick=True)):
        planned = engine.compare(subjects, CONTENDERS, replace(other, dry_run=True)).planned
        assert len(planned) == 6
        assert not set(planned) & set(steps.written)


def test_the_order_is_the_seeds_and_not_that_of_the_command_line(run):
    options, subjects, steps, _ = run
    dry = replace(options, force=True, dry_run=True)
    assert list(engine.compare(subjects[::-1], CONTENDERS[::-1], dry).planned) == steps.written
    assert list(engine.compare(subjects, CONTENDERS, replace(dry, seed=6)).planned) != steps.written


def test_a_model_whose_answer_does_not_depend_on_its_input_is_refused(run, place):
    from onnx import helper

    options = run[0]
    proto = models.mlp(seed=3)
    for tensor in proto.graph.initializer:
        if tensor.name == "w_2":
            tensor.CopyFrom(
                helper.make_tensor("w_2", tensor.data_type, list(tensor.dims), [0.0] * int(np.prod(tensor.dims)))
            )
    (place / "folded.onnx").write_bytes(proto.SerializeToString())
    subject = Subject(place / "folded.onnx", inputs={"x": np.eye(4, dtype=np.float32)})
    outcome = engine.compare([subject], CONTENDERS, replace(options, results=place / "constant"))
    assert {cell.status for cell in outcome.measured} == {Status.REFUSED}
    assert all("does not depend on its input" in cell.reason and not cell.stages for cell in outcome.measured)


def test_a_second_harness_says_so_before_it_runs(run):
    options, subjects, _, _ = run
    with machine.alone(shared=False) as crowded:
        assert not crowded
        with pytest.raises(ConfigError, match="another comparison is at work"):
            engine.compare(subjects, CONTENDERS, options)
        with machine.alone(shared=True) as both:
            assert both
    with machine.alone(shared=False):
        pass


def test_what_cannot_be_meant_is_an_error_before_anything_is_timed(run, place):
    options, subjects, _, _ = run
    with pytest.raises(PluginNotFound):
        engine.compare(subjects, [engine.Contender("frist")], options)
    with pytest.raises(ConfigError, match="no setting"):
        engine.compare(subjects, [engine.Contender("first", {"colour": "red"})], options)
    (place / "bare.onnx").write_bytes(models.mlp(seed=4).SerializeToString())
    with pytest.raises(ConfigError, match="no inputs for"):
        engine.compare([Subject(place / "bare.onnx")], CONTENDERS, options)
    (place / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"broken\.onnx"):
        engine.compare([Subject(place / "broken.onnx", inputs={"x": np.zeros((1, 4))})], CONTENDERS, options)


def test_an_unsound_backend_is_measured_and_never_ranked(run, small, place):
    options = run[0]
    outcome = engine.compare(
        [Subject(small / "one.onnx")], [engine.Contender("integer")], replace(options, results=place / "unsound")
    )
    (cell,) = outcome.measured
    assert cell.status is Status.OK, cell.reason
    assert not cell.ranked


def test_what_takes_long_is_measured_once_and_verified_in_every_round(run, small, place):
    slow = replace(run[0], results=place / "slow", repeats=3, repeat_below_seconds=0.0)
    (cell,) = engine.compare([Subject(small / "one.onnx")], CONTENDERS[:1], slow).measured
    assert cell.status is Status.OK, cell.reason
    assert [len(cell.samples(stage)) for stage in ("setup", "prove", "verify")] == [1, 1, 3]
    assert [sample.repeat for sample in cell.samples("verify")] == [0, 1, 2]


def test_a_setup_that_made_a_reference_string_is_not_counted(run, small, place):
    options = replace(run[0], results=place / "strings", repeats=1)
    (cell,) = engine.compare([Subject(small / "one.onnx")], [engine.Contender("stringy")], options).measured
    assert cell.status is Status.OK, cell.reason
    (setup,) = cell.samples("setup")
    assert setup.wall_seconds < 2
    assert any("made a reference string" in note for note in cell.notes)
