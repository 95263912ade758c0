from __future__ import annotations

import subprocess
import sys

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from balance_core import canonical
from balance_core.errors import ConfigError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value):
    assert canonical.decode(canonical.encode(value), max_size=10**6) == value


@given(
    st.recursive(
        VALUES | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_is_written_is_what_rfc_8785_says_however_it_is_written(value):
    assert canonical.encode(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        '\x00\x08\t\n\x0b\x0c\r\x1f\x7f\x80\u2028\ufeff\U0001f600"\\/<>',
        {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4, "\r": 5},
        [True, False, None, 0, -1, 2**53 - 1, [], {}, ()],
    ],
)
def test_escapes_and_orders_are_those_of_rfc_8785(value):
    assert canonical.encode(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, "\ud800", {"\ud800": 1}, {1, 2}, b"x", float("nan")])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(ConfigError, match="no canonical JSON form"):
        canonical.encode(value)


def test_what_is_too_deep_to_be_read_is_not_written():
    value: list = []
    for _ in range(canonical.MAX_NESTING + 1):
        value = [value]
    with pytest.raises(ConfigError, match="levels deep"):
        canonical.encode(value)


def test_keys_are_sorted_and_large_integers_are_strings():
    assert canonical.encode({"b": 2**53, "a": -(2**64), "c": 2**53 - 1}) == (
        b'{"a":"-18446744073709551616","b":"9007199254740992","c":9007199254740991}'
    )


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"a":2}', b"[NaN]", b"[Infinity]", b"\xff", b"", b"{", b"[" * 100_000, b'{"a":{"b":1,"b":1}}'],
)
def test_what_is_ambiguous_or_no_json_is_refused(text):
    with pytest.raises(ConfigError):
        canonical.decode(text, max_size=10**6)


def test_more_bytes_than_allowed_are_not_parsed():
    with pytest.raises(ConfigError, match="more than the 3 allowed"):
        canonical.decode(b"[1,2]", max_size=3)


def test_digests_tell_parts_and_domains_apart():
    digests = {
        canonical.digest("a", b"bc"),
        canonical.digest("ab", b"c"),
        canonical.digest("a", b"b", b"c"),
        canonical.digest("a", b"bc", b""),
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'["]",' * 100_000,
        b'["\\"]",' * 100_000,
        b'["' + b"]" * 100_000 + b'",' + b"[" * 100_000,
        b'"' + b"\\" * 99_999 + b'"' + b"[" * 1000,
    ],
    ids=[
        "arrays",
        "objects",
        "hidden by strings",
        "hidden by quoted quotes",
        "behind a string",
        "behind backslashes",
    ],
)
def test_deep_nesting_is_refused_whatever_the_interpreters_limit_is(text):
    """In a process of its own: without the check it would end by a signal."""
    program = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from balance_core import canonical\n"
        "from balance_core.errors import ConfigError\n"
        "try: canonical.decode(sys.stdin.buffer.read(), max_size=10**7)\n"
        "except ConfigError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-300:]
    assert b"is not valid" in done.stdout


def test_brackets_in_strings_and_side_by_side_do_not_count_as_depth():
    value = {"text": "[" * 5000 + '"' + "\\", "rows": [[[1]] for _ in range(5000)]}
    assert canonical.decode(canonical.encode(value), max_size=10**6) == value
    assert canonical.decode(b"[" * 200 + b"]" * 200, max_size=10**6)
