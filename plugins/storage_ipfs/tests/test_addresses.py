"""Addresses: of all forms that others write, and the same as the reference node's libraries give."""

from __future__ import annotations

import base64
import contextlib
import subprocess

import aleph_cid
import pytest
from balance_ipfs.address import Address
from hypothesis import given
from hypothesis import strategies as st

from balance_core import cid
from balance_core.errors import ConfigError

pytestmark = pytest.mark.plugin("ipfs")

LEAF = cid.CHUNK_BYTES
SIZES = (0, 1, 1000, LEAF - 1, LEAF, LEAF + 1, 5_000_000, 174 * LEAF, 174 * LEAF + 1, 60_000_000)
LAYOUTS = {
    "v1-raw": cid.BALANCE,
    "v1-raw-large": cid.Layout(chunk_bytes=2**20, max_links=1024),
    "v0": cid.Layout(raw_leaves=False, version=0),
    "v1": cid.Layout(raw_leaves=False),
}
HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
EMPTY_V0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"


def test_forty_addresses_are_those_of_the_reference_nodes_importer(program, large):
    command = [str(program), "cids", str(large), *map(str, SIZES)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {tuple(line.split()[:2]): line.split()[2] for line in lines}
    assert len(expected) == 40
    data = memoryview(large.read_bytes())
    for (size, name), address in expected.items():
        hasher = cid.Hasher(LAYOUTS[name])
        hasher.update(data[: int(size)])
        assert (size, name, hasher.cid()) == (size, name, address)


@pytest.mark.parametrize("size", [0, 1, LEAF, LEAF + 1, 174 * LEAF + 1])
def test_addresses_of_version_0_are_those_of_another_implementation(size):
    data = bytes(size)
    hasher, theirs = cid.Hasher(LAYOUTS["v0"]), aleph_cid.CidHasher.for_ipfs()
    hasher.update(data)
    theirs.update(data)
    assert hasher.cid() == theirs.finalize()


@given(st.binary(min_size=32, max_size=32), st.sampled_from([(0, 0x70), (1, 0x70), (1, 0x55)]))
def test_an_address_is_read_as_it_was_written(digest, kind):
    address = Address(*kind, digest)
    assert Address.parse(str(address)) == address
    assert Address.read(address.binary) == (address, len(address.binary))


def test_all_usual_bases_are_read():
    address = Address.parse(HELLO)
    binary = address.binary
    written = {
        "B" + HELLO[1:].upper(),
        "f" + binary.hex(),
        "F" + binary.hex().upper(),
        "m" + base64.b64encode(binary).decode().rstrip("="),
        "u" + base64.urlsafe_b64encode(binary).decode().rstrip("="),
        "z" + in_base(binary, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
        "k" + in_base(binary, "0123456789abcdefghijklmnopqrstuvwxyz"),
        "K" + in_base(binary, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    }
    assert {Address.parse(text) for text in written} == {address}
    assert "zb2rhk6GMPQF3hfzwXTaNYFLKomMeC6UXdUt6jZKPpeVirLtV" not in written
    assert Address.parse(EMPTY_V0).version == 0


def in_base(data: bytes, alphabet: str) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(alphabet))
        text = alphabet[digit] + text
    return text


def text_of(binary: bytes) -> str:
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


DIGEST = bytes(range(32))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a content address"),
        ("bafkqaaa", "identity"),
        (text_of(b"\x01\x55\x00\x05hello"), "identity"),
        (text_of(b"\x01\x55\x13\x40" + bytes(64)), "only SHA-256"),
        (text_of(b"\x01\x55\x1e\x20" + DIGEST), "only SHA-256"),
        (text_of(b"\x01\x55\x12\x14" + bytes(20)), "only SHA-256"),
        (text_of(b"\x01\x71\x12\x20" + DIGEST), "not dag-cbor"),
        (text_of(b"\x01\x72\x12\x20" + DIGEST), "not libp2p-key"),
        (text_of(b"\x02\x55\x12\x20" + DIGEST), "version 2"),
        (text_of(b"\x01\x55\x12\x20" + DIGEST[:-1]), "cut off"),
        (text_of(b"\x01\x55\x12\x20" + DIGEST + b"\0"), "something behind"),
        (text_of(b"\x01\xd5\x00\x12\x20" + DIGEST), "longer than needed"),
        (text_of(b"\x01" + b"\x80" * 20), "does not end"),
        (text_of(b"\x12\x20" + DIGEST), "something behind"),
        (HELLO + "=", "cannot|does not"),
        (HELLO[:-1] + "f", "does not end as it should"),
        (HELLO[:5].upper() + HELLO[5:], "mixes|base"),
        ("b" + HELLO[1:5].upper() + HELLO[5:], "mixes"),
        ("Qm" + "l" * 44, "does not belong"),
        ("Qm" + "1" * 44, "content address"),
        ("9" + "1" * 40, "base"),
        ("\N{KELVIN SIGN}" * 50, "not a content address"),
        ("b" * 10_000, "not a content address"),
        ("../../etc/passwd", "content address"),
        (HELLO + "/../x", "content address"),
        (HELLO + "\n", "content address"),
    ],
)
def test_what_is_no_address_of_a_file_is_refused_with_the_reason(text, why):
    with pytest.raises(ConfigError, match=why) as caught:
        Address.parse(text)
    assert "\n" not in caught.value.message


@given(st.text(max_size=140))
def test_no_text_is_more_than_refused(text):
    with contextlib.suppress(ConfigError):
        assert Address.parse(text)


@given(st.binary(max_size=80))
def test_no_bytes_are_more_than_refused(data):
    try:
        address, end = Address.read(data)
    except ValueError:
        return
    assert data[:end] == address.binary
