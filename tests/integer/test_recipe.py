"""Recipes: the same model gives the same bytes without samples; a retrained one the same structure, or why not."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from balance_core.errors import BalanceError, ConfigError, UnsupportedModel
from balance_core.integer import IntegerSettings, Recipe, calibrate, dumps, execute, replay
from balance_core.integer.recipe import MAX_EXPONENT, MAX_RECIPE_BYTES
from balance_core.model import reference
from balance_core.model.load import load
from balance_core.testing.models import kit_models, samples


def graph(nodes, weights, x=(1, 4), y=(1, 4), kind=TensorProto.FLOAT):
    """Return a model of one input x and one output y."""
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, ins.split(), outs.split(), name=f"{op.lower()}_{i}", **attributes)
             for i, (op, ins, outs, attributes) in enumerate(nodes)],
            "g",
            [helper.make_tensor_value_info("x", kind, x)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )  # fmt: skip
    onnx.checker.check_model(made)
    return made


def network(seed, *, scale=1.0, bias=0.3):
    """Return a graph with every kind of choice in it: weights, terms, tables, a softmax and a quotient."""
    random = np.random.default_rng(seed)

    def around(*shape):
        array = random.uniform(-1, 1, shape) * 0.95
        array.reshape(-1)[0] = 0.97  # so that every seed has the same range
        return (array * scale).astype(np.float32)

    nodes = [
        ("MatMul", "x w1", "a", {}),
        ("Add", "a b1", "b", {}),
        ("Sigmoid", "b", "c", {}),
        ("Mul", "c f", "d", {}),
        ("LayerNormalization", "d g h", "e", {"axis": -1}),
        ("MatMul", "e w2", "i", {}),
        ("Softmax", "i", "s", {"axis": -1}),
        ("Mul", "s i", "y", {}),
    ]
    weights = {
        "w1": around(4, 6),
        "b1": around(6) * np.float32(bias),
        "f": around(6),
        "g": around(6),
        "h": around(6),
        "w2": around(6, 4),
    }
    return graph(nodes, weights)


def inputs(seed=0, count=30):
    return {"x": np.random.default_rng(seed).uniform(-1, 1, (count, 1, 4)).astype(np.float32)}


@pytest.fixture(scope="module")
def made():
    return calibrate(network(1), inputs())


def test_a_recipe_makes_the_same_bytes_without_samples(made):
    again = replay(network(1), Recipe.from_text(made.recipe.text()))
    assert dumps(again) == dumps(made.model)
    assert made.recipe.structure == made.model.structure_digest


def test_a_recipe_holds_no_samples(made):
    """Its length does not grow with them, and it holds integers only."""
    more = calibrate(network(1), inputs(count=120), IntegerSettings(bits=made.recipe.bits))
    assert abs(len(more.recipe.text()) - len(made.recipe.text())) < 40
    assert all(isinstance(number, int) for *_, numbers in made.recipe.choices for number in numbers)


def test_a_retrained_model_has_the_same_structure_and_answers_as_well(made):
    retrained = network(2)
    again = replay(retrained, made.recipe)
    assert again.structure_digest == made.model.structure_digest
    assert again.weights_digest != made.model.weights_digest
    floats = reference.run(retrained, inputs(5))["y"]
    assert np.abs(execute(again, inputs(5)).reals["y"] - floats).max() < 0.1 * np.ptp(floats)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (network(1, scale=3.0), "weights of matmul_0 reach 2.9"),
        (network(1, bias=30.0), "weights of add_1 reach"),
        (network(1, scale=2.0**-6), "too coarse for weights of matmul_0"),
    ],
)
def test_a_retrained_model_that_leaves_the_recipe_is_told_where(made, other, said):
    with pytest.raises(ConfigError, match=said) as caught:
        replay(other, made.recipe)
    assert "calibrate with samples" in caught.value.hint


def test_a_bias_that_was_zero_has_no_place_in_the_structure():
    without, having = (graph([("MatMul", "x w", "a", {}), ("Add", "a b", "y", {})], {
        "w": np.eye(4, dtype=np.float32) / 3, "b": np.full(4, bias, np.float32)}) for bias in (0, 0.5))  # fmt: skip
    recipe = calibrate(without, inputs()).recipe
    with pytest.raises(ConfigError, match="add_1 adds nothing"):
        replay(having, recipe)
    recipe = calibrate(having, inputs()).recipe
    assert replay(without, recipe).structure_digest == recipe.structure


def test_equal_factors_belong_to_the_structure_and_others_do_not():
    def scaled(factor):
        return graph([("Mul", "x f", "a", {}), ("Sigmoid", "a", "y", {})], {"f": np.asarray(factor, np.float32)})

    equal, unequal = scaled([0.5] * 4), scaled([0.5, 0.25, 0.5, 0.125])
    with pytest.raises(ConfigError, match="factors of mul_0 are all equal"):
        replay(unequal, calibrate(equal, inputs()).recipe)
    with pytest.raises(ConfigError, match="not the structure"):
        replay(scaled([0.25] * 4), calibrate(equal, inputs()).recipe)
    recipe = calibrate(unequal, inputs()).recipe
    assert replay(equal, recipe).structure_digest == recipe.structure


def test_weights_that_were_equal_must_stay_so_and_those_that_were_not_need_not():
    def twice(first, second):
        nodes = [("MatMul", "x w", "a", {}), ("Relu", "a", "b", {}), ("MatMul", "b v", "y", {})]
        return graph(nodes, {"w": np.float32(first), "v": np.float32(second)})

    one, two = np.random.default_rng(3).uniform(0.6, 0.99, (2, 4, 4))
    tied, apart = calibrate(twice(one, one), inputs()), calibrate(twice(one, two), inputs())
    assert len(tied.model.weight_nodes) == 1
    assert len(apart.model.weight_nodes) == 2
    assert replay(twice(two, two), tied.recipe).structure_digest == tied.recipe.structure
    assert replay(twice(one, one), apart.recipe).structure_digest == apart.recipe.structure
    with pytest.raises(ConfigError, match="are equal, and they are not"):
        replay(twice(one, two), tied.recipe)


def test_whole_numbers_added_to_integers_stay_whole():
    def shifted(by):
        nodes = [("Cast", "x", "a", {"to": TensorProto.FLOAT}), ("Add", "a b", "y", {})]
        return graph(nodes, {"b": np.float32(by)}, kind=TensorProto.INT64)

    recipe = calibrate(shifted([1, 2, 3, 4]), {"x": np.arange(40).reshape(10, 1, 4)}).recipe
    assert replay(shifted([4, 3, 2, 1]), recipe).structure_digest == recipe.structure
    with pytest.raises(ConfigError, match="adds multiples of 1 by the recipe"):
        replay(shifted([1.5, 2, 3, 4]), recipe)


def test_a_recipe_of_another_model_is_refused(made):
    for model in kit_models():
        if model.name != "kit-unsupported":
            with pytest.raises(ConfigError, match="recipe"):
                replay(model.proto(), made.recipe)
    main, twin = kit_models().main, kit_models().twin
    recipe = calibrate(main.proto(), samples(main).inputs).recipe
    with pytest.raises(ConfigError):
        replay(network(1), recipe)
    assert main.model_id != twin.model_id


def test_a_recipe_has_one_text(made):
    text = made.recipe.text()
    assert Recipe.from_text(text) == made.recipe
    value = json.loads(text)
    for other in (
        json.dumps(value),
        text + " ",
        text.replace('"bits":', '"bits":0'),
        json.dumps({**value, "samples": [1.5]}, separators=(",", ":")),
    ):
        with pytest.raises(ConfigError):
            Recipe.from_text(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{" * 10**5,
        "1e999",
        '{"bits":NaN}',
        "\ud800",
        "9" * 5000,
        " " * (MAX_RECIPE_BYTES + 1),
    ],
)
def test_what_is_no_recipe_is_a_config_error(text):
    with pytest.raises(ConfigError):
        Recipe.from_text(text)


def changed(recipe, edit):
    """Return a recipe with its JSON value edited, read again as from a stranger."""
    value = json.loads(recipe.text())
    edit(value)
    return Recipe.from_value(value)


HOSTILE = (0, 1, -1, 63, 400, -400, 401, MAX_EXPONENT * 10, 2**31, -(2**31), 2**53, 2**62, -(2**62), 2**63 - 1)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damaged_recipe_makes_a_model(made, data):
    """Every number, place, kind and length changed: a typed error, quickly, and never another model."""

    def edit(value):
        choices = value["choices"]
        at = data.draw(st.integers(0, len(choices) - 1))
        match data.draw(st.integers(0, 5)):
            case 0:
                del choices[at]
            case 1:
                choices.insert(at, choices[at])
            case 2:
                choices[at][0] = data.draw(st.sampled_from(sorted({choice[0] for choice in choices} | {"same"})))
                choices[at][2] = [int(n) for n in data.draw(st.lists(st.sampled_from(HOSTILE), max_size=3))]
            case 3:
                choices[at][1] = data.draw(st.sampled_from([0, 1, 10**6]))
            case 4:
                choices[at][2] = choices[at][2][:-1]
            case _:
                numbers = choices[at][2] or [0]
                numbers[data.draw(st.integers(0, len(numbers) - 1))] = data.draw(st.sampled_from(HOSTILE))
                choices[at][2] = numbers

    try:
        recipe = changed(made.recipe, edit)
        again = replay(network(1), recipe)
    except (ConfigError, UnsupportedModel):
        return
    assert dumps(again) == dumps(made.model)


@pytest.mark.parametrize("field", ["bits", "weight_bits"])
@pytest.mark.parametrize("number", [0, -1, 2, 16, 17, 10**9])
def test_other_bits_make_no_other_model(made, field, number):
    def edit(value):
        value[field] = number

    try:
        again = replay(network(1), changed(made.recipe, edit))
    except BalanceError:
        return
    assert dumps(again) == dumps(made.model)


def test_a_scale_beyond_all_bounds_is_refused_while_calibrating():
    tiny = graph([("MatMul", "x w", "y", {})], {"w": np.full((4, 4), 1e-38, np.float32)})
    recipe = calibrate(tiny, inputs()).recipe
    assert replay(tiny, recipe).nodes[-1].scale < Fraction(1, 2**120)
    nodes = [("Cast", "x", "d", {"to": TensorProto.DOUBLE}), ("MatMul", "d w", "e", {}),
             ("Cast", "e", "y", {"to": TensorProto.FLOAT})]  # fmt: skip
    with pytest.raises(UnsupportedModel, match="no scale"):
        calibrate(graph(nodes, {"w": np.full((4, 4), 1e-200)}), inputs())


def test_replaying_needs_a_fixed_shape(made):
    proto = network(1)
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_value")
    with pytest.raises(BalanceError):
        replay(proto, made.recipe)


def test_models_from_files_are_replayed(tmp_path):
    onnx.save(network(4), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    found = calibrate(model.proto(), inputs())
    assert dumps(replay(model.proto(), found.recipe)) == dumps(found.model)


@pytest.mark.parametrize(("fixed", "behind", "error"), [("FP16x16", 16, 1e-2), ("FP8x23", 23, 1e-2)])
def test_a_fixed_point_format_is_the_scale_of_inputs_weights_and_outputs(fixed, behind, error):
    found = calibrate(network(1), inputs(), IntegerSettings(fixed=fixed, max_error=error))
    model, unit = found.model, Fraction(1, 2**behind)
    assert model.nodes[model.inputs[0][0]].scale == unit
    assert model.nodes[model.outputs[0].tensor].scale == unit
    large = [place for place in model.weight_nodes if model.facts[place].size == 24]
    assert len(large) == 2
    assert all(model.nodes[place].scale == unit for place in large)
    assert found.report.suffices
    again = replay(network(1), Recipe.from_text(found.recipe.text()))
    assert dumps(again) == dumps(model)
    assert replay(network(2), found.recipe).structure_digest == found.recipe.structure


def test_a_fixed_point_format_costs_a_dense_model_no_accuracy():
    proto = kit_models().main.proto()
    given, unseen = ({"x": inputs(seed)["x"]} for seed in (0, 1))
    found = calibrate(proto, given, IntegerSettings(fixed="FP16x16"))
    floats = reference.run(proto, unseen)["y"]
    assert np.abs(execute(found.model, unseen).reals["y"] - floats).max() < 2.0**-12
    assert {str(node.scale) for node in found.model.nodes} == {"1/65536", "1/4294967296"}


def test_what_a_fixed_point_format_cannot_hold_saturates_at_its_ends():
    proto = graph([("MatMul", "x w", "y", {})], {"w": np.full((4, 4), 100, np.float32)})
    large = {"x": np.float32([[[30000, 30000, -30000, 1]], [[1, 2, 3, 4]]])}
    found = calibrate(proto, large, IntegerSettings(fixed="FP16x16", max_error=10))
    top = execute(found.model, large).outputs["y"].max()
    assert top == 2**32 - 1


def test_a_width_that_no_fixed_point_format_allows_names_the_node():
    nodes = [("Mul", "x x", "a", {}), ("MatMul", "a w", "y", {})]
    proto = graph(nodes, {"w": np.full((4, 4), 1e4, np.float32)})
    with pytest.raises(UnsupportedModel, match="matmul_1"):
        calibrate(proto, {"x": np.full((2, 1, 4), 100, np.float32)}, IntegerSettings(fixed="FP8x23"))
