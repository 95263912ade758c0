from __future__ import annotations

import json
import re
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes

from balance_core.errors import ConfigError
from balance_core.model.inputs import as_batch, read_inputs
from balance_core.records import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path


def spec(*shape: int, dtype: Any = "float32", name: str = "image") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


IMAGE = [spec(1, 4)]
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def failure(call: Any, *arguments: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    assert "\n" not in caught.value.message
    assert "Traceback" not in caught.value.message
    return caught.value


# --- files --------------------------------------------------------------------------------------------------------


def test_every_format_holds_the_same_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(3), labels=np.array(["a"]))
    np.savez_compressed(tmp_path / "named.npz", image=X, x=np.zeros(7))
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in X.tolist()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "x.csv").read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "x.json").write_text(json.dumps(X.tolist()))
    (tmp_path / "named.json").write_text(json.dumps({"image": X.tolist(), "y": [1]}))
    (tmp_path / "ezkl.json").write_text(json.dumps({"input_data": [X.ravel().tolist()]}))
    for path in sorted(tmp_path.iterdir()):
        found = read_inputs(path, IMAGE)
        if path.name == "ezkl.json":
            found = {"image": found["image"].reshape(3, 4)}
        assert np.array_equal(as_batch(found, IMAGE)["image"], X[:, None]), path.name


def test_several_inputs_are_found_by_name(tmp_path: Path) -> None:
    specs = [spec(1, 4), spec(2, name="scale")]
    np.savez(tmp_path / "x.npz", image=X, scale=np.ones((3, 2)), other=np.zeros(1))
    batch = as_batch(read_inputs(tmp_path / "x.npz", specs), specs)
    assert {name: array.shape for name, array in batch.items()} == {"image": (3, 1, 4), "scale": (3, 2)}


def test_fortran_order_and_big_endian_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X.astype(">f8")))
    assert np.array_equal(as_batch(read_inputs(tmp_path / "x.npy", IMAGE), IMAGE)["image"], X[:, None])


def npy(array: Any, **options: Any) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


BROKEN = {
    "empty.npy": (b"", "not a readable"),
    "garbage.npy": (b"\x00" * 100, "not a readable"),
    "short.npy": (npy(X)[:-4], "cut short"),
    "huge.npy": (header("(1000000, 1000000, 1000000)"), "cut short"),
    "negative.npy": (header("(-1, 4)"), "cut short|not a readable"),
    "code.npy": (header("__import__('os')"), "not a readable"),
    "version.npy": (b"\x93NUMPY\x09\x00" + npy(X)[8:], "not a readable"),
    "objects.npy": (npy(np.array([{}, 1], dtype=object), allow_pickle=True), "Python objects"),
    "empty.npz": (b"", "not a readable"),
    "garbage.npz": (b"PK" + bytes(100), "not a readable"),
    "empty.json": (b"", "not valid"),
    "nan.json": (b"[NaN, 1, 2, 3]", "NaN"),
    "ragged.json": (b"[[1, 2], [3]]", "different lengths"),
    "text.json": (b'["a", "b", "c", "d"]', "something else than numbers"),
    "null.json": (b"[[1, 2, 3, null]]", "something else than numbers"),
    "twice.json": (b'{"image": [1], "image": [2]}', "duplicate"),
    "deep.json": (b"[" * 100_000, "not valid"),
    "nested.json": (b"[" * 200 + b"]" * 200, "different lengths or depths|numbers"),
    "other.json": (b'{"a": [1], "b": [2]}', "lack 'image'"),
    "number.json": (b"1e999", "infinity|numbers|NaN"),
    "latin.json": ("é".encode("latin-1"), "not valid"),
    "empty.csv": (b"\n\n", "no samples"),
    "text.csv": (b"1,2,3,4\n5,six,7,8\n", "six"),
    "heading.csv": (b"a,b,c,d\n1,2,3,4\n", "not a table of numbers"),
    "ragged.csv": (b"1,2,3,4\n5,6,7\n", "number of columns changed"),
    "gaps.csv": (b"1,2,,4\n", "not a table of numbers"),
    "semicolons.csv": (b"1;2;3;4\n", "not a table of numbers"),
    "binary.csv": (bytes(range(128, 256)), "not a table of numbers"),
    "nan.csv": (b"1,2,nan,4\n", "NaN"),
    "model.onnx": (b"", "no kind of input file"),
    "none": (b"", "no kind of input file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_one_line_error(tmp_path: Path, name: str) -> None:
    data, words = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    error = failure(lambda: as_batch(read_inputs(tmp_path / name, IMAGE), IMAGE))
    assert re.search(words, error.message), error.message


def test_files_that_are_not_there_or_no_files_are_one_line_errors(tmp_path: Path) -> None:
    assert "No such file" in str(failure(read_inputs, tmp_path / "x.npy", IMAGE))
    (tmp_path / "folder.npy").mkdir()
    assert "folder.npy" in str(failure(read_inputs, tmp_path / "folder.npy", IMAGE))
    failure(read_inputs, "a\0b.npy", IMAGE)


def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balance_core.model.inputs.MAX_ARRAY_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((2**18, 4), np.float32)))
    assert (tmp_path / "x.npz").stat().st_size < 2**16
    assert "too many" in str(failure(read_inputs, tmp_path / "x.npz", IMAGE))


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data.replace(b"\x93NUMPY", b"\x93NUMPX"))
    assert "not a readable" in str(failure(read_inputs, tmp_path / "x.npz", IMAGE))


def test_a_table_is_no_place_for_two_inputs(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2\n")
    assert ".npz" in str(failure(read_inputs, tmp_path / "x.csv", [spec(1), spec(1, name="b")]).hint)


# --- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "count"),
    [
        ((1, 784), (784,), 1),
        ((1, 784), (1, 784), 1),
        ((1, 784), (5, 784), 5),
        ((1, 784), (5, 1, 784), 5),
        ((1, 1, 28, 28), (1, 28, 28), 1),
        ((1, 1, 28, 28), (1, 1, 28, 28), 1),
        ((1, 1, 28, 28), (5, 1, 28, 28), 5),
        ((1, 1, 28, 28), (5, 1, 1, 28, 28), 5),
        ((1, 1, 28, 28), (784,), 1),
        ((1, 1, 28, 28), (5, 784), 5),
        ((1, 14, 56), (14, 56), 1),
        ((1, 14, 56), (7, 14, 56), 7),
        ((4,), (4,), 1),
        ((4,), (5, 4), 5),
        ((2, 3), (2, 3), 1),
        ((2, 3), (5, 2, 3), 5),
        ((2, 3), (6,), 1),
        ((), (), 1),
        ((), (5,), 5),
        ((1,), (1,), 1),
        ((1,), (5, 1), 5),
        ((1,), (5,), 5),
    ],
)
def test_samples_may_leave_out_what_goes_without_saying(
    model: tuple[int, ...], given: tuple[int, ...], count: int
) -> None:
    array = np.arange(np.prod(given, dtype=int), dtype=np.float32).reshape(given)
    batch = as_batch(array, [spec(*model)])
    assert batch["image"].shape == (count, *model)
    assert np.array_equal(batch["image"].ravel(), array.ravel())


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ((1, 784), (783,)),
        ((1, 784), (28, 28)),
        ((1, 784), (5, 2, 784)),
        ((1, 784), (0, 784)),
        ((1, 1, 28, 28), (28, 28)),
        ((2, 3), (3, 2)),
        ((2, 3), (3,)),
        ((4,), ()),
    ],
)
def test_other_shapes_are_refused_with_the_shape_to_give(model: tuple[int, ...], given: tuple[int, ...]) -> None:
    error = failure(as_batch, np.zeros(given, np.float32), [spec(*model)])
    assert "image" in error.message


@settings(max_examples=100, deadline=None)
@given(array_shapes(min_dims=0, max_dims=4, max_side=4), array_shapes(min_dims=0, max_dims=5, max_side=4))
def test_no_element_is_lost_or_moved(model: tuple[int, ...], given: tuple[int, ...]) -> None:
    array = np.arange(np.prod(given, dtype=int), dtype=np.float32).reshape(given)
    try:
        batch = as_batch(array, [spec(*model)])
    except ConfigError:
        return
    assert batch["image"].shape[1:] == model
    assert np.array_equal(batch["image"].ravel(), array.ravel())


def test_all_inputs_have_one_number_of_samples() -> None:
    specs = [spec(1, 4), spec(2, name="scale")]
    error = failure(as_batch, {"image": X, "scale": np.ones((2, 2))}, specs)
    assert "image 3, scale 2" in error.message


def test_a_lone_array_does_not_name_one_of_two_inputs() -> None:
    error = failure(as_batch, X, [spec(1, 4), spec(2, name="scale")])
    assert "'image', 'scale'" in error.message


# --- element types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([0.5, 1.0], "float16"),
        ([0.1, 1e30], "float32"),
        (np.array([0, 255], np.uint8), "float32"),
        (np.array([2**24], np.int64), "float32"),
        (np.array([True, False]), "float32"),
        (np.array([True, False]), "int64"),
        ([1.0, -2.0], "int8"),
        ([float(2**53)], "int64"),
        (np.array([2**63 - 1]), "uint64"),
        ([0, 1], "bool"),
        ([0.0, 1.0], "bool"),
    ],
)
def test_numbers_that_stay_what_they_are_may_change_their_type(given: Any, wanted: Any) -> None:
    array = np.asarray(given)
    found = as_batch(array, [spec(len(array), dtype=wanted)])["image"]
    assert found.dtype == np.dtype(wanted)
    assert np.allclose(found[0].astype(float), array.astype(float), rtol=1e-7)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([1e39], "float32"),
        ([70000.0], "float16"),
        ([0.5], "int64"),
        ([300.0], "uint8"),
        ([-1.0], "uint8"),
        ([1e300], "int64"),
        ([float(2**60)], "int64"),
        (np.array([2**24 + 1]), "float32"),
        (np.array([2**63], np.uint64), "int64"),
        (np.array([-1]), "uint64"),
        (np.array([300]), "int8"),
        ([2], "bool"),
        ([0.5], "bool"),
        ([float("nan")], "float32"),
        ([float("inf")], "float64"),
        ([float("nan")], "int64"),
        (["a"], "float32"),
        ([1j], "float32"),
        ([None], "float32"),
        (np.array(["2024-01-01"], "datetime64[D]"), "float32"),
    ],
)
def test_numbers_that_would_change_are_refused(given: Any, wanted: Any) -> None:
    assert "image" in failure(as_batch, np.asarray(given), [spec(1, dtype=wanted)]).message
