from __future__ import annotations

import json

import pytest

from balance_core import cli
from balance_core.compare import baseline, loading, rows
from tests.compare import specimens
from tests.compare.specimens import cell, samples, unfinished


def table(*cells):
    return rows.table(loading.Results({one.machine: specimens.machine(one.machine) for one in cells}, cells))


def proving(seconds, **changes):
    return cell("mnist_mlp", "ezkl", stages={"prove": {"samples": samples(seconds, 100)}}, **changes)


def verdict(old, new, metric="prove_seconds", **options):
    found = baseline.compare(table(old), table(new), **options)
    return next(change.verdict for change in found.changes if change.metric.name == metric)


def test_a_clear_change_is_seen_in_both_directions():
    assert verdict(proving(1.0), proving(1.5)) == "worse"
    assert verdict(proving(1.5), proving(1.0)) == "better"
    assert verdict(proving(1.0), proving(1.0)) == "same"


def test_a_change_below_the_threshold_is_none():
    assert verdict(proving(1.0), proving(1.3)) == "worse"
    assert verdict(proving(1.0), proving(1.3), threshold=0.5) == "same"


def test_a_change_within_the_spread_of_the_samples_is_noise():
    def wide(*seconds):
        one = samples(1, 100, count=1)[0]
        stage = {"samples": [one | {"wall_seconds": s, "repeat": i} for i, s in enumerate(seconds)]}
        return cell("mnist_mlp", "ezkl", stages={"prove": stage})

    assert verdict(wide(1.0, 1.2, 3.0), wide(1.1, 2.0, 2.9)) == "within noise"
    assert verdict(wide(1.0, 1.1, 1.2), wide(1.6, 2.0, 2.9)) == "worse"


def test_lost_agreement_counts_without_regard_to_noise():
    def agreeing(share):
        found = cell("mnist_mlp", "ezkl").faithfulness.model_dump(mode="json")
        found["fidelity"]["top1_agreement"] = share
        return cell("mnist_mlp", "ezkl", faithfulness=found)

    assert verdict(agreeing(0.99), agreeing(0.95), "top1_agreement") == "worse"
    assert verdict(agreeing(0.99), agreeing(0.988), "top1_agreement") == "same"
    assert verdict(agreeing(0.95), agreeing(0.99), "top1_agreement") == "better"


def test_a_larger_proof_is_a_change_without_noise():
    grown = cell("mnist_mlp", "ezkl", sizes={"proof": 40_000, "bundle": 42_000})
    assert verdict(cell("mnist_mlp", "ezkl"), grown, "proof_bytes") == "worse"


def test_another_version_of_a_backend_is_the_same_cell():
    slower = proving(2.0)
    newer = slower.model_copy(update={"backend": slower.backend.model_copy(update={"version": "9.9"})})
    assert verdict(proving(1.0), newer) == "worse"


def test_other_conditions_are_another_cell():
    few = cell("mnist_mlp", "ezkl").conditions.model_dump(mode="json") | {"threads": 1}
    found = baseline.compare(table(proving(1.0)), table(proving(2.0, conditions=few)))
    assert not found.changes
    assert len(found.missing) == len(found.added) == 1


def test_what_worked_and_does_not_any_more_is_broken():
    gone = unfinished("mnist_mlp", "ezkl", "timeout", "too slow", "prove")
    assert not baseline.compare(table(proving(1.0)), table(gone)).ok
    mended = baseline.compare(table(gone), table(proving(1.0)))
    assert mended.ok
    assert len(mended.mended) == 1


def test_a_machine_that_became_slower_as_a_whole_shows():
    def all_slower(factor):
        return [
            cell(model, "ezkl", stages={"prove": {"samples": samples(factor, 1)}})
            for model in ("lenet5", "iris_tree")
        ]

    found = baseline.compare(table(*all_slower(1.0)), table(*all_slower(1.3)))
    assert found.drift == (("two-cores", pytest.approx(1.3)),)


@pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (1.05, 0), (2.0, 1)])
def test_the_command_exits_with_1_past_the_threshold(seconds, code, tmp_path, capsys):
    old = specimens.store(tmp_path / "old", [proving(1.0)])
    new = specimens.store(tmp_path / "new", [proving(seconds)])
    assert cli.invoke(["report", "--baseline", str(old), str(new)]) == code
    shown = capsys.readouterr().out
    assert (
        "worse        mnist_mlp ezkl: prove 1 s to 2 s \N{MULTIPLICATION SIGN}2, samples spread over 8%" in shown
    ) == bool(code)
    assert cli.invoke(["report", "--baseline", str(old), str(new), "--json"]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is not bool(code)


def test_the_threshold_can_be_set(tmp_path, capsys):
    old = specimens.store(tmp_path / "old", [proving(1.0)])
    new = specimens.store(tmp_path / "new", [proving(2.0)])
    assert cli.invoke(["report", "--baseline", str(old), str(new), "--threshold", "150"]) == 0
    assert "0 worse" in capsys.readouterr().out


def test_nothing_in_common_is_an_error(tmp_path, capsys):
    old = specimens.store(tmp_path / "old", [cell("lenet5", "ezkl")])
    new = specimens.store(tmp_path / "new", [cell("mnist_mlp", "ezkl")])
    assert cli.invoke(["report", "--baseline", str(old), str(new)]) == 2
    assert "no cell of the baseline" in capsys.readouterr().err
