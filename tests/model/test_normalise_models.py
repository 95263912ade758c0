from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from balance_core.errors import BalanceError
from balance_core.model import inputs, reference
from balance_core.model.draft import LABELS_KEY
from balance_core.model.load import load
from balance_core.model.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Callable


from tests.model.normalising import batch_for, check_same_answers, operators

# --- opsets, ZipMap and labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", range(11, 24))
def test_all_opsets_from_eleven_up_are_read(
    parse: Callable[..., ModelProto], random: np.random.Generator, opset: int
) -> None:
    body = "a = Softmax(x) b = Clip(a) c = Flatten(b) y = ArgMax<axis: int = 1>(c)"
    model = load(parse(f"(float[N,3,4] x) => (int64[N,1] y) {{ {body} }}", opset))
    form = check_same_answers(model, random)
    defined = [version for version in (17, 21, 23) if version <= max(opset, 17)]  # Flatten: anew in 21 and in 23
    assert form.opset_import[0].version == defined[-1]


def test_a_model_imports_the_oldest_opset_that_defines_its_operators_alike(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    text = "(float[N,4] x) => (float[N,4] y) { a = %s(x) y = Exp(a) }"
    versions = {
        operator: check_same_answers(load(parse(text % operator, 22)), random).opset_import[0].version
        for operator in ("Relu", "Mish", "Gelu")
    }
    assert versions == {"Relu": 17, "Mish": 22, "Gelu": 20}


def test_what_is_left_to_be_worked_out_is_written_out(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    proto = parse("""(float[N,4,3] x) => (float[N,A,B] y) <int64[3] s = {0, -1, 2}, int64[1] two = {2}> {
        a = Reshape(x, s) c = CastLike(two, a) y = Mul(a, c)
    }""")
    form = check_same_answers(load(proto), random)
    assert operators(form) == ["Reshape", "Mul"]
    constants = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in form.graph.initializer}
    assert constants[form.graph.node[0].input[1]] == [1, 6, 2]


def scored(labels: dict[str, Any], zipped: bool) -> ModelProto:
    key = "classlabels_strings" if "classlabels_strings" in labels else "classlabels_int64s"
    given = {"classlabels_ints" if name == "classlabels_int64s" else name: value for name, value in labels.items()}
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
                         coefficients=[1.0, -1.0, 0.5, 2.0, -1.0, 0.0], intercepts=[0.1, 0.2, 0.3], **given)
    ]  # fmt: skip
    if zipped:
        nodes.append(helper.make_node("ZipMap", ["scores"], ["zipped"], domain="ai.onnx.ml", **{key: labels[key]}))
    kind = helper.make_tensor_type_proto(8 if "strings" in key else 7, ["N"])
    outputs = [helper.make_value_info("label", kind)]
    scores = helper.make_tensor_type_proto(1, ["N", 3])
    if zipped:
        key_type = 8 if "strings" in key else 7
        scores = helper.make_sequence_type_proto(
            helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(1, []))
        )
    outputs.append(helper.make_value_info("zipped" if zipped else "scores", scores))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 2])], outputs)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "labels", [{"classlabels_int64s": [7, 3, 5]}, {"classlabels_strings": ["cat", "ant", "bee"]}]
)
def test_scores_come_as_tensors_and_labels_as_numbers(
    random: np.random.Generator, labels: dict[str, Any], zipped: bool
) -> None:
    model = load(scored(labels, zipped))
    batch = batch_for(model, random, 32)
    assert [spec.dtype for spec in model.outputs] == ["int64", "float32"]
    assert operators(model.proto()) == ["LinearClassifier"]
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) == 0
    answers, given = reference.run(model.onnx, batch), reference.run(str_free(model.original), batch)
    if "classlabels_strings" in labels:
        names = labels["classlabels_strings"]
        assert reference.labels(model.onnx) == {"label": tuple(names)}
        assert [[names[number]] for [number] in answers["label"]] == given["label"].tolist()
    else:
        assert reference.labels(model.onnx) == {}
        assert (answers["label"] == given["label"]).all()
    assert (answers[model.outputs[1].name] == given[model.outputs[1].name]).all()


def str_free(data: bytes | None) -> bytes:
    assert data is not None
    return data


def test_labels_looked_up_in_a_list_of_names_become_numbers(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[N,3] x) => (string[N] y) {
        i = ArgMax<axis: int = 1, keepdims: int = 0>(x)
        n = ai.onnx.ml.ArrayFeatureExtractor(names, i)
        s = Constant<value_ints = [-1]>()
        r = Reshape(n, s)
        y = Cast<to: int = 8>(r)
    }""")
    proto.graph.initializer.append(helper.make_tensor("names", 8, [3], [b"cat", b"ant", b"bee"]))
    model = load(proto)
    batch = {"x": np.eye(3, dtype=np.float32)[[2, 0, 1], None]}
    assert reference.run(model.onnx, batch)["y"].ravel().tolist() == [2, 0, 1]
    assert reference.labels(model.onnx) == {"y": ("cat", "ant", "bee")}
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) == 0


def test_names_of_classes_survive_another_opset() -> None:
    proto = scored({"classlabels_strings": ["cat", "ant", "bee"]}, zipped=True)
    proto.opset_import[0].version = 12
    model = load(proto)
    assert model.proto().opset_import[0].version == 17
    assert reference.labels(model.onnx) == {"label": ("cat", "ant", "bee")}


def test_names_of_classes_survive_normalising_again() -> None:
    proto = load(scored({"classlabels_strings": ["cat", "ant", "bee"]}, zipped=True)).proto()
    [entry] = normalise(proto).metadata_props
    assert (entry.key, json.loads(entry.value)) == (f"{LABELS_KEY}label", ["cat", "ant", "bee"])


def test_strings_that_are_compared_are_refused(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(int64[1] x) => (bool[1] y) { a = Gather(names, x) y = Equal(a, other) }")
    proto.graph.initializer.append(helper.make_tensor("names", 8, [2], [b"cat", b"ant"]))
    proto.graph.initializer.append(helper.make_tensor("other", 8, [1], [b"cat"]))
    with pytest.raises(BalanceError, match="string"):
        load(proto)


# --- whole models -------------------------------------------------------------------------------------------------

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"


@pytest.mark.parametrize(
    "name", ["iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer"]
)
def test_the_model_zoo_gives_the_same_answers(name: str) -> None:
    here = Path(__file__).parents[1] / "data" / "models" / f"{name}.onnx"
    path = here if here.exists() else SHARED / here.name
    if not path.exists():
        pytest.skip("this model is not in the repository")
    model = load(path)
    batch = inputs.as_batch(inputs.read_inputs(path.with_suffix(".npz"), model.inputs), model.inputs)
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) <= 1e-5
    assert normalise(model.proto()).SerializeToString(deterministic=True) == model.onnx
