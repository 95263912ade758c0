"""The choice of ezkl's arguments: cheap, faithful, repeatable, and never silently worse than asked for."""

from __future__ import annotations

import json
import re

import ezkl
import numpy as np
import pytest
from balance_ezkl.settings import EzklSettings
from balance_ezkl.verifier import EzklVerifier
from onnx import helper

from balance_core.contracts import Samples
from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model.load import load

from .workshop import graph, mlp, sample, sampled


def test_choice_agrees_with_the_float_model_and_says_what_it_is(tiny):
    facts = tiny.circuit.facts
    assert facts["agreement"] == 1
    assert facts["samples"] == 24
    assert facts["candidates"] >= 1
    assert 2 ** facts["k"] >= facts["rows"] / facts["columns"] / 8
    assert facts["k"] <= 10


def test_setup_chooses_the_same_again(tiny, tiny_bench):
    again = tiny_bench.setup(tiny.model, tiny.samples)
    assert again.circuit_id == tiny.circuit.circuit_id
    assert again.settings == tiny.circuit.settings


def test_circuit_is_made_again_from_its_settings_without_samples(tiny, tiny_bench):
    settings = EzklSettings.parse(tiny.circuit.settings, owner="ezkl")
    again = tiny_bench.setup(tiny.model, None, settings)
    assert again.circuit_id == tiny.circuit.circuit_id
    assert "agreement" not in again.facts


def test_settings_of_a_circuit_with_samples_give_it_too(tiny, tiny_bench):
    settings = EzklSettings.parse(tiny.circuit.settings, owner="ezkl")
    assert tiny_bench.setup(tiny.model, tiny.samples, settings).circuit_id == tiny.circuit.circuit_id


def test_another_weight_gives_another_circuit(tiny, tiny_bench):
    settings = EzklSettings.parse(tiny.circuit.settings, owner="ezkl")
    proto = tiny.model.proto()
    raw = bytearray(proto.graph.initializer[0].raw_data)
    raw[3] ^= 0x80  # the sign of the first weight
    proto.graph.initializer[0].raw_data = bytes(raw)
    other = tiny_bench.setup(load(proto), None, settings)
    assert other.settings == tiny.circuit.settings
    assert other.circuit_id != tiny.circuit.circuit_id


def test_without_samples_everything_must_be_named(tiny, bench):
    with pytest.raises(ConfigError, match="cannot be chosen without samples"):
        bench.setup(tiny.model, None)
    with pytest.raises(ConfigError, match="without samples"):
        bench.setup(
            tiny.model, Samples({"x": np.zeros((0, 1, 4), np.float32)}, {"y": np.zeros((0, 1, 3), np.float32)})
        )


@pytest.mark.parametrize(
    "knobs",
    [
        {
            "input_scale": 8,
            "param_scale": 6,
            "scale_rebase_multiplier": 1,
            "decomp_base": 64,
            "decomp_legs": 4,
            "logrows": 9,
            "num_inner_cols": 1,
            "lookup_range": (-60, 70),
        },
        {
            "ignore_range_check_inputs_outputs": False,
            "rebase_frac_zero_constants": True,
            "bounded_log_lookup": True,
            "epsilon": 0.001,
            "disable_freivalds": True,
            "check_mode": "safe",
        },
    ],
)
def test_every_knob_reaches_the_circuit(tiny, tiny_bench, knobs):
    circuit = tiny_bench.setup(tiny.model, tiny.samples, EzklSettings(**knobs))
    key = tiny_bench.key(circuit)
    found = json.loads(key.parts["settings"])["ezkl"]["run_args"]
    for name, value in knobs.items():
        wanted = list(value) if isinstance(value, tuple) else value.upper() if isinstance(value, str) else value
        assert found[name] == wanted
    EzklVerifier().verify(key, None, tiny_bench.prove(circuit, sample(tiny.samples, 3)))


def test_every_knob_of_ezkl_has_a_setting_or_a_reason():
    fixed = {"input_visibility", "output_visibility", "param_visibility", "variables"}
    knobs = {name for name in dir(ezkl.PyRunArgs()) if not name.startswith("_")}
    assert knobs - fixed <= set(EzklSettings.model_fields)


def test_selectors_may_have_columns_of_their_own(tiny, tiny_bench):
    settings = EzklSettings.parse({**tiny.circuit.settings, "disable_selector_compression": True}, owner="ezkl")
    circuit = tiny_bench.setup(tiny.model, None, settings)
    key = tiny_bench.key(circuit)
    assert len(key.parts["key"]) != len(tiny.key.parts["key"])
    EzklVerifier().verify(key, None, tiny_bench.prove(circuit, sample(tiny.samples, 3)))


@pytest.mark.parametrize(
    "values",
    [
        {"decomp_base": 100},
        {"decomp_base": 2**20, "decomp_legs": 4},
        {"lookup_range": (5, -5)},
        {"min_agreement": 1.5},
        {"logrows": 40},
        {"input_visibility": "private"},
        {"param_visibility": "public"},
    ],
)
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ConfigError):
        EzklSettings.parse(values, owner="ezkl")


def test_coarse_settings_are_refused_with_the_best_found_and_what_to_type(bench):
    model = mlp(seed=6, sizes=(6, 16, 5))
    samples = sampled(model, count=60)
    coarse = {"input_scale": 1, "param_scale": 1}
    with pytest.raises(UnsupportedModel, match=r"agrees with the float model on \d+\.\d% of 60 samples") as refused:
        bench.setup(model, samples, EzklSettings(**coarse))
    accepted = re.search(r"-o min_agreement=([0-9.]+)", refused.value.hint)
    circuit = bench.setup(model, samples, EzklSettings(**coarse, min_agreement=float(accepted[1])))
    assert float(accepted[1]) <= circuit.facts["agreement"] < 0.99


def test_settings_that_hold_no_value_are_refused(bench, tiny):
    with pytest.raises(UnsupportedModel, match="holds the values"):
        bench.setup(tiny.model, tiny.samples, EzklSettings(decomp_base=2, decomp_legs=2))


def test_larger_inputs_get_a_wider_range(bench):
    model = mlp(seed=1)
    circuit = bench.setup(model, sampled(model, low=-1000, high=1000))
    facts = circuit.facts
    assert facts["decomp_base"] ** facts["decomp_legs"] / 2 ** facts["input_scale"] > 1000
    EzklVerifier().verify(
        bench.key(circuit), None, bench.prove(circuit, {"x": np.full((1, 4), 999.0, dtype=np.float32)})
    )


def test_all_samples_are_counted_where_the_hardest_go_wrong(bench):
    """Of 200 samples one has a tie that no rounding keeps: 99.5 % agree, which is enough."""
    model = mlp(seed=6, sizes=(3, 4, 3))
    samples = sampled(model, count=200)
    answers = samples.outputs["y"].copy()
    order = np.argsort(answers[7, 0])
    answers[7, 0, order[-1]], answers[7, 0, order[-2]] = answers[7, 0, order[-2]], answers[7, 0, order[-1]]
    close = answers[7, 0].copy()
    close[order[-1]] = close[order[-2]] - 1e-6
    answers[7, 0] = close
    circuit = bench.setup(model, Samples(samples.inputs, {"y": answers}), EzklSettings(max_samples=10))
    assert circuit.facts["samples"] == 200
    assert 0.99 <= circuit.facts["agreement"] < 1


def test_tables_are_as_wide_as_the_samples_need(bench):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], name="gemm"),
        helper.make_node("Sigmoid", ["a"], ["s"], name="sigmoid"),
        helper.make_node("Gemm", ["s", "v", "c"], ["y"], name="last"),
    ]
    random = np.random.default_rng(2)
    constants = {
        "w": random.normal(0, 1, (4, 6)),
        "b": random.normal(0, 1, 6),
        "v": random.normal(0, 1, (6, 3)),
        "c": np.zeros(3),
    }
    model = load(graph(nodes, {"x": (1, 4)}, {"y": (1, 3)}, constants))
    samples = sampled(model)
    circuit = bench.setup(model, samples)
    answers = bench.execute(circuit, samples.inputs)
    for answer, expected in zip(answers, samples.outputs["y"], strict=True):
        assert np.abs(answer[0].real() - expected).max() < 0.15
    EzklVerifier().verify(bench.key(circuit), None, bench.prove(circuit, sample(samples, 0)))
    with pytest.raises(ConfigError, match=r"lookup table from .* is asked for") as refused:
        bench.prove(circuit, {"x": np.full((1, 4), 14.0, dtype=np.float32)})
    assert "lookup_safety_margin" in refused.value.hint


def test_a_model_that_decides_nothing_is_held_to_its_numbers(bench):
    model = load(
        graph(
            [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm")],
            {"x": (1, 5)},
            {"y": (1, 1)},
            {"w": np.array([[0.5], [-1.5], [0.25], [2.0], [1.0]]), "b": np.array([0.3])},
        )
    )
    samples = sampled(model)
    circuit = bench.setup(model, samples)
    spread = float(np.ptp(samples.outputs["y"]))
    for answer, expected in zip(bench.execute(circuit, samples.inputs), samples.outputs["y"], strict=True):
        assert abs(answer[0].real() - expected).max() <= 0.02 * spread
