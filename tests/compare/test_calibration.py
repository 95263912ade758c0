from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core import cli, registry
from balance_core.compare import calibration, trial
from balance_core.compare.calibration import Calibration, Point, apply, fit, lines
from balance_core.errors import BalanceError
from balance_core.provider import EXAMPLE
from balance_core.stages import Estimate, Support
from balance_core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    return Workspace.default()


def kept(workspace, **changes):
    value = {
        "backend": "mine", "version": "1", "machine": calibration.this_machine(), "created": "2026-01-02T03:04:05Z",
        "load_average": 0.1, "models": 3,
        "lines": {"prove_seconds": {"of": "prove_seconds", "base": 0.5, "slope": 2.0},
                  "setup_seconds": {"of": "prove_seconds", "base": 0.0, "slope": 3.0},
                  "memory_bytes": {"of": "memory_bytes", "base": 1e8, "slope": 1.5}},
    } | changes  # fmt: skip
    made = Calibration.from_value(value)
    path = calibration.path(workspace, "mine")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made.to_json())
    return made


@given(st.floats(0.0, 2.0), st.floats(0.2, 20.0))
def test_a_line_is_found_again(base, slope):
    pairs = [(p, base + slope * p) for p in (0.3, 1.0, 4.0, 20.0)]
    found = fit(pairs)
    assert all(abs(found[0] + found[1] * p - m) / m < 0.05 for p, m in pairs)


@given(st.lists(st.tuples(st.floats(1e-3, 1e4), st.floats(1e-3, 1e4)), min_size=1, max_size=6), st.booleans())
def test_whatever_is_fitted_expects_something_and_nothing_below_zero(pairs, adds):
    base, slope = fit(pairs, adds=adds)
    assert base >= 0
    assert slope >= 0
    assert 0 < base + slope * pairs[0][0] < math.inf


def test_models_of_nearly_one_cost_leave_the_slope_near_proportion():
    base, slope = fit([(4.0, 8.0), (4.05, 8.6), (4.1, 7.9)])
    assert base + slope * 8.0 == pytest.approx(16.0, rel=0.25)


def test_memory_that_an_estimate_leaves_out_is_added_rather_than_multiplied():
    base, slope = fit([(16.0, 110.0), (17.0, 113.0)], adds=True)
    assert base + slope * 200.0 < 350


def test_a_setup_without_an_estimate_is_expected_from_the_proof():
    points = [Point(Estimate(prove_seconds=p), {"prove_seconds": 2 * p, "setup_seconds": 3 * p}) for p in (1.0, 4.0)]
    found = lines(points)
    assert set(found) == {"prove_seconds", "setup_seconds"}
    assert apply(found, Estimate(prove_seconds=10.0)).setup_seconds == pytest.approx(30, rel=0.05)


def test_an_estimate_is_unchanged_without_a_calibration(workspace):
    support = Support(estimate=Estimate(prove_seconds=3.0))
    assert calibration.fitted(workspace, "mine", "1", support) == support


def test_a_calibration_is_applied_and_said(workspace):
    kept(workspace)
    support = calibration.fitted(
        workspace, "mine", "1", Support(estimate=Estimate(prove_seconds=3.0, memory_bytes=10**8))
    )
    assert support.estimate.prove_seconds == 6.5
    assert support.estimate.setup_seconds == 9.0
    assert support.estimate.memory_bytes == 250_000_000
    assert "fitted to this machine" in support.notes[-1]


@pytest.mark.parametrize("changes", [{"version": "2"}, {"machine": "another x64"}])
def test_a_calibration_of_another_version_or_machine_is_left_alone(workspace, changes):
    kept(workspace, **changes)
    assert calibration.load(workspace, "mine", "1") is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 10, b"[" * 10**5, b" " * 10**6])
def test_a_damaged_calibration_is_none(workspace, damage):
    kept(workspace)
    calibration.path(workspace, "mine").write_bytes(damage)
    assert calibration.load(workspace, "mine", "1") is None


def test_a_backend_that_breaks_does_not_stop_the_others(workspace):
    found = trial.calibrate(workspace, ["no_such_backend", "integer"], budget=30)
    assert all(isinstance(made, BalanceError) for made in found.values())  # `integer` makes no estimates
    assert not calibration.path(workspace, "integer").exists()


def test_without_anything_to_measure_the_command_says_so(workspace, monkeypatch, capsys):
    del workspace
    monkeypatch.setattr(registry, "names", lambda _kind: ("integer",))
    assert cli.invoke(["doctor", "--calibrate"]) == 5
    assert "no backend could be measured" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ezkl", "giza_orion", "zkml_halo2"])
def test_after_a_calibration_a_model_that_it_has_not_seen_costs_about_what_is_expected(backend, workspace, tmp_path):
    """The benchmark's bar is a median of 30 %; one model on a machine that may be busy is allowed twice that."""
    if backend not in registry.names("backends"):
        pytest.skip(f"{backend} is not installed")
    fitted = lines(trial.measured(workspace, backend, budget=300, clock="cpu_seconds", widths=(8, 128)))
    with np.load(EXAMPLE / "digits.npz") as digits:
        np.save(tmp_path / "x.npy", digits["x"][: trial.SAMPLES])
    point = trial.run(workspace, backend, EXAMPLE / "mnist_mlp.onnx", tmp_path / "x.npy", clock="cpu_seconds")
    expected = apply(fitted, point.predicted)
    errors = {name: abs(getattr(expected, name) - cost) / cost for name, cost in point.measured.items()}
    assert median(errors.values()) < 0.6, errors
    assert errors["memory_bytes"] < 0.3, errors


def test_one_odd_model_does_not_bend_the_line():
    base, slope = fit([(1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0), (3.0, 60.0)])
    assert base + slope * 5.0 == pytest.approx(10.0, rel=0.1)
