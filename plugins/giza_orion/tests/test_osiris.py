"""The osiris wire format is what giza-osiris writes and reads, as recorded and, where it is installed, again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from balance_orion import osiris
from hypothesis import given
from hypothesis import strategies as st

from balance_core.errors import ConfigError

RECORD = json.loads(Path(__file__).with_name("osiris.json").read_text())
KINDS = {"i8": np.int8, "i32": np.int32, "u32": np.uint32}


def array(case):
    return np.array(case["values"], dtype=KINDS.get(case["type"], np.float64)).reshape(case["shape"])


@pytest.mark.parametrize("case", RECORD["written"], ids=lambda case: case["type"])
def test_writes_what_giza_osiris_writes(case):
    assert osiris.write(array(case), case["type"]) == case["text"]


@pytest.mark.parametrize("case", RECORD["read"], ids=lambda case: case["type"])
def test_reads_what_giza_osiris_reads(case):
    read = osiris.read(case["text"], case["type"])
    assert read.shape == tuple(case["shape"])
    assert read.reshape(-1).tolist() == case["values"]


def test_the_documented_example():
    assert osiris.write(np.array([[1.5, -2.25]]), "FP16x16") == "[1 2] [98304 0 147456 1]"


@given(st.sampled_from(sorted(osiris.INTEGERS)), st.data())
def test_integers_come_back(kind, data):
    values = data.draw(st.lists(st.integers(*osiris.INTEGERS[kind]), max_size=8))
    text = osiris.write(np.array(values, dtype=np.int64), kind)
    assert osiris.read(text, kind).tolist() == values
    assert osiris.write(osiris.read(text, kind), kind) == text


@given(st.sampled_from(sorted(osiris.FIXED)), st.data())
def test_fixed_point_numbers_come_back(kind, data):
    fraction, bits = osiris.FIXED[kind]
    words = data.draw(st.lists(st.integers(1 - 2**bits, 2**bits - 1), max_size=8))
    values = np.array(words, dtype=np.float64) / 2**fraction
    assert osiris.read(osiris.write(values, kind), kind).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "i32"),
        ("[1] [2", "i32"),
        ("[1]  [2]", "i32"),
        ("[2] [2]", "i32"),
        ("[1] [300]", "i8"),
        ("[1] [-1]", "i32"),
        (f"[1] [{2**260}]", "u32"),
        (f"[{'9' * 90}] []", "u32"),
        ("[1] [true]", "u32"),
        ("[1] [5 2]", "FP16x16"),
        (f"[1] [{2**32} 0]", "FP16x16"),
        ("[1] [5 0 7]", "FP8x23"),
        ("[1] [5]", "FP1x1"),
    ],
)
def test_other_texts_are_refused(text, kind):
    with pytest.raises(ConfigError):
        osiris.read(text, kind)


@pytest.mark.parametrize(
    ("values", "kind"), [([70000.0], "FP16x16"), ([np.nan], "FP8x23"), ([128], "i8"), ([1.5], "i32"), ([-1], "u32")]
)
def test_numbers_that_do_not_fit_are_refused(values, kind):
    with pytest.raises(ConfigError):
        osiris.write(np.array(values), kind)


@pytest.mark.parametrize("case", RECORD["written"], ids=lambda case: case["type"])
def test_giza_osiris_itself_still_agrees(case):
    """Runs only in the environment of `make test-osiris`: its pins contradict those of balance-core."""
    structures = pytest.importorskip("osiris.cairo.serde.data_structures")
    serialize = pytest.importorskip("osiris.cairo.serde.serialize")
    kind = case["type"] if case["type"].startswith("FP") else "FP16x16"
    tensor = structures.create_tensor_from_array(array(case), kind)
    assert osiris.write(array(case), case["type"]) == serialize.serializer(tensor)
