"""Content addresses against `aleph-cid`, an implementation nobody here wrote."""

from __future__ import annotations

import io
from hashlib import shake_128

import aleph_cid
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core import cid
from balance_core.errors import ConfigError

LEAF = 256 * 1024
TREE = 174 * LEAF
"""The most content below one inner node."""
SIZES = (0, 1, 100, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 10 * LEAF + 7, TREE - 1, TREE, TREE + 1, 60 * 2**20)


@pytest.fixture(scope="module")
def content():
    return memoryview(shake_128(b"content").digest(max(SIZES)))


def independent(data) -> str:
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(bytes(data))
    return hasher.finalize()


@pytest.mark.parametrize("size", SIZES)
def test_an_address_is_the_one_that_another_implementation_computes(content, size):
    assert cid.of_bytes(content[:size]) == independent(content[:size])


@pytest.mark.parametrize("size", [0, 1, LEAF, LEAF + 1, TREE + 1])
def test_a_file_and_a_stream_have_the_address_of_their_bytes(content, size, tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(content[:size])
    expected = independent(content[:size])
    assert cid.of_file(path) == expected
    assert cid.of_chunks(cid.chunks_of(io.BytesIO(content[:size]), 1000 * 1000)) == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, LEAF + 10), max_size=8))
def test_the_pieces_in_which_content_is_fed_do_not_matter(sizes):
    data = shake_128(b"pieces").digest(sum(sizes))
    hasher, offset = cid.Hasher(), 0
    for size in sizes:
        hasher.update(data[offset : offset + size])
        offset += size
        hasher.cid()  # asking in between changes nothing
    assert hasher.cid() == independent(data)


@pytest.mark.soak
def test_a_tree_of_three_levels_has_the_right_address():
    """More than 174 * 174 leaves: 7.9 GB of zeros, about ten seconds."""
    ours, theirs = cid.Hasher(), aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    zeros = bytes(16 * LEAF)
    for _ in range(174 * 174 // 16 + 3):
        ours.update(zeros)
        theirs.update(zeros)
    assert ours.cid() == theirs.finalize()


def test_known_addresses():
    assert cid.of_bytes(b"") == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert cid.of_bytes(b"hello world") == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "bafkrei",
        "../../etc/passwd",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/..",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",
        "BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU",
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        "zb2rhk6GMPQF3hfzwXTaNYFLKomMeC6UXdUt6jZKPpeVirLtV",
        "bafkqaaa",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\n",
        "b" + "\N{KELVIN SIGN}" * 58,
    ],
)
def test_what_is_no_address_of_the_profile_is_refused(text):
    with pytest.raises(ConfigError):
        cid.check(text)


def test_addresses_of_leaves_and_trees_are_accepted(content):
    for size in (0, LEAF + 1):
        assert cid.check(cid.of_bytes(content[:size])) == cid.of_bytes(content[:size])
