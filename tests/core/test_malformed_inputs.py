"""What users hand over by mistake: each is one `error:` line and one `hint:` line, with the exit code of its kind."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from balance_core.cli import invoke
from tests.core.test_executor import ODD

CONFIG, UNSUPPORTED = 2, 4

pytestmark = pytest.mark.slow


def graph(nodes, *, inputs=(("x", [1, 3]),), outputs=(("y", [1, 2]),), weights=None, opset=17, domains=()):
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    weights = {"w": np.ones((3, 2), np.float32)} if weights is None else weights
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [info(*value) for value in inputs],
            [info(*value) for value in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=8,
    )
    return model.SerializeToString()


MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
GOOD = graph([MATMUL])
IF = helper.make_node(
    "If",
    ["c"],
    ["y"],
    name="branch",
    **{
        side: helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [f"{side}_y"])],
            side,
            [],
            [helper.make_tensor_value_info(f"{side}_y", TensorProto.FLOAT, [1, 2])],
        )
        for side in ("then_branch", "else_branch")
    },
)


def external(location):
    model = onnx.load_from_string(GOOD)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return model.SerializeToString()


MODELS = {
    "empty": (b"", CONFIG),
    "text": (b"hello, world", CONFIG),
    "html": (b"<!doctype html><p>404", CONFIG),
    "json": (b'{"a": 1}', CONFIG),
    "zip": (b"PK\x03\x04" + bytes(100), CONFIG),
    "zeros": (bytes(1000), CONFIG),
    "truncated": (GOOD[: len(GOOD) // 2], CONFIG),
    "cut by one": (GOOD[:-1], CONFIG),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(64), CONFIG),
    "unknown operator": (graph([helper.make_node("Nonsense", ["x"], ["y"], name="odd")]), UNSUPPORTED),
    "unknown domain": (
        graph([helper.make_node("Op", ["x"], ["y"], name="odd", domain="com.example")], domains=["com.example"]),
        UNSUPPORTED,
    ),
    "old opset": (graph([MATMUL], opset=6), UNSUPPORTED),
    "constant output": (graph([helper.make_node("MatMul", ["a", "w"], ["y"], name="k")],
                              weights={"a": np.ones((1, 3), np.float32), "w": np.ones((3, 2), np.float32)}),
                        UNSUPPORTED),
    "no nodes": (graph([], weights={"y": np.ones((1, 2), np.float32)}), UNSUPPORTED),
    "missing tensor": (graph([helper.make_node("MatMul", ["x", "nowhere"], ["y"], name="lost")]), None),
    "shapes that do not fit": (graph([MATMUL], weights={"w": np.ones((5, 2), np.float32)}), None),
    "a cycle": (graph([helper.make_node("Add", ["x", "b"], ["a"], name="one"),
                       helper.make_node("Add", ["a", "x"], ["b"], name="two"),
                       helper.make_node("MatMul", ["b", "w"], ["y"], name="three")]), None),
    "symbolic dimension": (graph([MATMUL], inputs=(("x", ["rows", "columns"]),)), None),
    "control flow": (graph([helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
                            helper.make_node("Cast", ["s"], ["c"], to=TensorProto.BOOL), IF]), UNSUPPORTED),
    "external data outside": (external("../secret"), CONFIG),
    "external data absolute": (external("/etc/passwd"), CONFIG),
    "external data missing": (external("weights.bin"), CONFIG),
}  # fmt: skip


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        header = (
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000,), }".ljust(117)
            + b"\n"
        )
        archive.writestr("x.npy", header + bytes(10**6))
    return buffer.getvalue()


INPUTS = {
    "x.npy empty": b"",
    "x.npy text": b"1,2,3",
    "x.npy truncated": npy(np.ones((4, 3), np.float32))[:-5],
    "x.npy wrong shape": npy(np.ones((4, 5), np.float32)),
    "x.npy wrong rank": npy(np.ones((2, 2, 2, 3), np.float32)),
    "x.npy no samples": npy(np.ones((0, 3), np.float32)),
    "x.npy NaN": npy(np.array([[1, np.nan, 2]], np.float32)),
    "x.npy infinity": npy(np.array([[1, np.inf, 2]], np.float32)),
    "x.npy text array": npy(np.array([["a", "b", "c"]])),
    "x.npy complex": npy(np.ones((1, 3), np.complex64)),
    "x.npy objects": npy(np.array([[1, "b", None]], dtype=object)),
    "x.npy too large for float32": npy(np.array([[1e300, 0, 0]])),
    "x.npz not a zip": b"PK nonsense",
    "x.npz empty": npz(),
    "x.npz other names": npz(a=np.ones((1, 3), np.float32), b=np.ones((1, 3), np.float32)),
    "x.npz bomb": bomb(),
    "x.json not json": b"{",
    "x.json scalar": b"7",
    "x.json ragged": b"[[1,2,3],[1,2]]",
    "x.json text": b'[["a","b","c"]]',
    "x.json NaN": b"[[NaN,1,2]]",
    "x.json duplicate": b'{"x":[[1,2,3]],"x":[[1,2,3]]}',
    "x.json other names": json.dumps({"z": [[1, 2, 3]], "t": [[1, 2, 3]]}).encode(),
    "x.json deep": b"[" * 5000 + b"]" * 5000,
    "x.csv text": b"a,b,c\nd,e,f\n",
    "x.csv ragged": b"1,2,3\n1,2\n",
    "x.csv empty": b"",
    "x.csv binary": bytes(range(256)),
    "x.csv one word": b"1,2,3\n1,two,3\n",
    "x.txt other ending": b"1,2,3",
}


@pytest.fixture
def here(home, install, tmp_path, monkeypatch):
    assert home
    install("odd", ODD, {"balance.backends": ["odd = odd:Odd"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outcome(arguments, capsys):
    code = invoke(arguments)
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert len([line for line in shown.splitlines() if line.startswith("error: ")]) == 1, shown
    assert len([line for line in shown.splitlines() if line.startswith("hint: ")]) == 1, shown
    return code


@pytest.mark.parametrize("case", MODELS)
def test_a_malformed_model_is_refused_in_one_line(case, here, capsys):
    data, code = MODELS[case]
    (here / "model.onnx").write_bytes(data)
    found = outcome(["convert", "model.onnx", "-o", "out.onnx"], capsys)
    assert found == code or (code is None and found in (CONFIG, UNSUPPORTED))
    assert not (here / "out.onnx").exists()


@pytest.mark.parametrize("case", INPUTS)
def test_a_malformed_input_is_refused_in_one_line(case, here, capsys):
    (here / "model.onnx").write_bytes(GOOD)
    name = case.split()[0]
    (here / name).write_bytes(INPUTS[case])
    assert outcome(["run", "model.onnx", "-i", name, "--backend", "odd"], capsys) == CONFIG


def test_files_and_folders_that_cannot_be_used_are_refused_in_one_line(here, capsys, monkeypatch):
    (here / "model.onnx").write_bytes(GOOD)
    (here / "x.csv").write_text("1,2,3\n")
    (here / "folder.onnx").mkdir()
    (here / "folder.npy").mkdir()
    (here / "file").write_text("")
    assert outcome(["convert", "folder.onnx", "-o", "out.onnx"], capsys) == CONFIG
    assert outcome(["run", "model.onnx", "-i", "folder.npy", "--backend", "odd"], capsys) == CONFIG
    assert outcome(["run", "model.onnx", "-i", "missing.npy", "--backend", "odd"], capsys) == CONFIG
    assert outcome(["convert", "model.onnx", "-o", "no/folder/out.onnx"], capsys) == CONFIG
    assert outcome(["convert", "model.onnx", "-o", "/proc/out.onnx"], capsys) == CONFIG
    monkeypatch.setenv("BALANCE_HOME", str(here / "file"))
    assert outcome(["run", "model.onnx", "-i", "x.csv", "--backend", "odd"], capsys) == CONFIG
    monkeypatch.setenv("BALANCE_HOME", "/proc/balance")
    assert outcome(["run", "model.onnx", "-i", "x.csv", "--backend", "odd"], capsys) == CONFIG
