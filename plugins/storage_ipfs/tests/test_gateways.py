"""A gateway can lie, stall and break off; it cannot make a reader take one wrong byte, nor wait for ever."""

from __future__ import annotations

import contextlib
import gzip
import time
from hashlib import shake_128

import pytest
from balance_ipfs import car
from balance_ipfs.address import Address

from balance_core.errors import BlobNotFound, ContentMismatch, StorageError, StorageUnreachable

from .faults import Server, blocks_of, honest

pytestmark = pytest.mark.plugin("ipfs")

DATA = shake_128(b"gateway").digest(3 * 2**18 + 77)
ADDRESS, BLOCKS = blocks_of(DATA)
OTHER, OTHERS = blocks_of(b"other content")
RAW = "application/vnd.ipld.raw"


def changed(block):
    return block[:-1] + bytes([block[-1] ^ 1])


def altered(wire, block):
    wire.answer(200, changed(block), content_type=RAW)


def padded(wire, block):
    wire.answer(200, block + b"more", content_type=RAW)


def cut(wire, block):
    wire.answer(200, block[:-1], content_type=RAW)


def endless(wire, _):
    wire.head(200, {"transfer-encoding": "chunked"})
    while True:
        wire.send(b"10000\r\n" + bytes(2**16) + b"\r\n")


def endless_without_a_length(wire, _):
    wire.head(200, {})
    while True:
        wire.send(bytes(2**16))


def swapped(wire, _):
    wire.answer(200, next(iter(OTHERS.values())), content_type=RAW)


def half(wire, block):
    wire.answer(200, block[: len(block) // 2], content_length=str(len(block)))


def wrong_length(wire, block):
    wire.answer(200, block, content_length=str(len(block) - 5))


def empty(wire, _):
    wire.answer(200, b"")


def page(wire, _):
    wire.answer(200, b"<html>Please verify that you are human</html>", content_type="text/html")


def squeezed(wire, _):
    wire.answer(200, gzip.compress(bytes(2**26)), content_encoding="gzip")


def trickling(wire, block):
    wire.head(200, {"content-length": str(len(block))})
    for byte in block:
        wire.send(bytes([byte]))
        time.sleep(0.05)


def silent(wire, _):
    wire.hang()


def elsewhere(wire, _):
    wire.answer(302, b"", location="https://elsewhere.example/ipfs/" + ADDRESS)


def broken(wire, _):
    wire.answer(500, b"\x1b[31mpanic\x07\nat line 1")


def no_http(wire, _):
    wire.send(b"SSH-2.0-nothing\r\n\r\n")


def many_headers(wire, _):
    wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        wire.send(b"x: " + bytes(1000).replace(b"\0", b"x") + b"\r\n")


def endless_promises(wire, _):
    while True:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def trickling_headers(wire, _):
    wire.send(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        wire.send(b"x")
        time.sleep(0.05)


LIES = (altered, padded, cut, swapped, empty, page, wrong_length)
FAULTS = (
    endless,
    endless_without_a_length,
    half,
    squeezed,
    trickling,
    silent,
    elsewhere,
    broken,
    no_http,
    many_headers,
    endless_promises,
    trickling_headers,
)


def single_blocks(fault, *, but=()):
    """Return a gateway that has no archives, and single blocks that are not what they should be."""

    def respond(asked, wire):
        block = BLOCKS.get(asked.address)
        if asked.query.get("format") != "raw" or block is None:
            wire.answer(404, b"not found")
        elif asked.address in but:
            wire.answer(200, block)
        else:
            fault(wire, block)

    return respond


def read(store, address=ADDRESS, *, step=50_000, max_size=2**20):
    """Return what came, and the error that ended it."""
    got = bytearray()
    try:
        with store.open(address, max_size=max_size) as stream:
            while piece := stream.read(step):
                got += piece
    except StorageError as error:
        return bytes(got), error
    return bytes(got), None


def same(got, expected):
    if got != expected:
        raise AssertionError(f"{len(got)} other bytes than the {len(expected)} expected")


@pytest.mark.parametrize("fault", [*LIES, *FAULTS])
@pytest.mark.parametrize("but", [(), (ADDRESS,)], ids=["always", "after the first block"])
def test_a_gateway_that_lies_or_fails_is_a_typed_error_and_not_one_wrong_byte(make, fault, but):
    started = time.monotonic()
    with Server(single_blocks(fault, but=but)) as server:
        got, error = read(make(server.url))
    assert got == b""
    assert isinstance(error, ContentMismatch if fault in LIES else StorageError)
    assert error.hint
    assert error.message.isprintable()
    assert "gateway" in error.message
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("fault", [*LIES, *FAULTS])
def test_the_next_gateway_is_asked_and_the_bad_one_passed_over(make, fault):
    with Server(single_blocks(fault, but=(ADDRESS,))) as bad, Server(honest(BLOCKS)) as good:
        got, error = read(make(bad.url, good.url))
        assert error is None
        same(got, DATA)
        blocks_asked = [asked for asked in bad.calls if asked.query["format"] == "raw"]
        assert len(blocks_asked) == 2, "the first block, and the one that it was found out by"


def archive(*sections, root=ADDRESS):
    return car.header(Address.parse(root)) + b"".join(
        car.section(Address.parse(address), block) for address, block in sections
    )


IN_ORDER = [(ADDRESS, BLOCKS[ADDRESS])] + [found for found in BLOCKS.items() if found[0] != ADDRESS]


def endless_archive(wire):
    wire.head(200, {})
    wire.send(archive(IN_ORDER[0]))
    while True:
        wire.send(car.section(Address.parse(OTHER), OTHERS[OTHER]) * 1000)


ARCHIVES = {
    "right": lambda wire: wire.answer(200, archive(*IN_ORDER)),
    "reversed": lambda wire: wire.answer(200, archive(*reversed(IN_ORDER))),
    "altered": lambda wire: wire.answer(200, archive(*[(found, changed(block)) for found, block in IN_ORDER])),
    "padded": lambda wire: wire.answer(200, archive(*[(found, block + b"x") for found, block in IN_ORDER])),
    "cut": lambda wire: wire.answer(200, archive(*IN_ORDER)[:-10]),
    "half": lambda wire: wire.answer(200, archive(*IN_ORDER)[:300_000], content_length="900000"),
    "foreign": lambda wire: wire.answer(200, archive(*OTHERS.items(), root=OTHER)),
    "endless": endless_archive,
    "huge section": lambda wire: wire.answer(200, archive(IN_ORDER[0]) + b"\xff\xff\xff\xff\x0f" + bytes(10**6)),
    "no archive": lambda wire: wire.answer(200, b"<html>" * 100),
    "empty": lambda wire: wire.answer(200, b""),
    "silent": lambda wire: wire.hang(),
    "unknown hash": lambda wire: wire.answer(200, archive(IN_ORDER[0]) + b"\x08\x01\x55\x1e\x04abcd"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_is_a_help_and_never_a_source_of_wrong_bytes(make, kind):
    def respond(asked, wire):
        if asked.query["format"] == "car":
            ARCHIVES[kind](wire)
        else:
            wire.answer(200, BLOCKS[asked.address])

    with Server(respond) as server:
        got, error = read(make(server.url))
        assert error is None
        same(got, DATA)
        singles = [asked for asked in server.calls if asked.query["format"] == "raw"]
        assert len(singles) == 1 if kind == "right" else len(singles) > 1


def test_content_that_repeats_itself_is_read_though_archives_hold_each_block_once(make):
    data = bytes(5 * 2**18)
    address, blocks = blocks_of(data)
    once = [(address, blocks[address]), *((found, block) for found, block in blocks.items() if found != address)]

    def respond(asked, wire):
        if asked.query["format"] == "car":
            wire.answer(200, archive(*once, root=address))
        else:
            wire.answer(200, blocks[asked.address])

    with Server(respond) as server:
        got, error = read(make(server.url), address, max_size=len(data))
    assert error is None
    same(got, data)


def test_absence_silence_and_lies_are_told_apart(make):
    with Server(honest({})) as absent, Server(single_blocks(altered)) as liar:
        assert isinstance(read(make(absent.url))[1], BlobNotFound)
        assert isinstance(read(make(absent.url, liar.url))[1], ContentMismatch)
        assert isinstance(read(make(absent.url, "http://127.0.0.1:1"))[1], StorageUnreachable)
        assert not make(absent.url).has(ADDRESS)
        with pytest.raises(ContentMismatch):
            make(liar.url).has(ADDRESS)
    assert isinstance(read(make())[1], StorageUnreachable)


def test_a_missing_part_is_named_with_the_whole(make):
    leaf = next(found for found in BLOCKS if found != ADDRESS)
    with Server(honest({found: block for found, block in BLOCKS.items() if found != leaf})) as server:
        _, error = read(make(server.url))
    assert isinstance(error, BlobNotFound)
    assert f"{ADDRESS} is not whole" in error.message


def test_a_redirect_is_followed_only_where_allowed_and_never_in_circles(make):
    with Server(honest(BLOCKS)) as good:

        def respond(asked, wire):
            wire.answer(301, b"", location=f"{good.url}{asked.path}?format={asked.query['format']}")

        with Server(respond) as server:
            _, error = read(make(server.url))
            assert "elsewhere: to 127.0.0.1" in error.message
            assert not good.calls
            got, error = read(make(server.url, allow_redirects=True))
            assert error is None
            same(got, DATA)
    with Server(lambda asked, wire: wire.answer(302, b"", location=asked.path)) as server:
        assert "in circles" in read(make(server.url, allow_redirects=True))[1].message
        assert len(server.calls) == 6
    for location in ("ftp://127.0.0.1/x", "file:///etc/passwd", "", "http://user:secret@127.0.0.1/", "http://[::1"):
        with Server(lambda _, wire, to=location: wire.answer(302, b"", location=to)) as server:
            assert isinstance(read(make(server.url, allow_redirects=True))[1], StorageUnreachable)


def test_passwords_and_proxies_of_the_surroundings_are_not_used(make, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("BALANCE_IPFS_AUTHORIZATION", "Bearer for-the-node-alone")
    with Server(single_blocks(broken)) as proxy, Server(honest(BLOCKS)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert read(make(server.url))[1] is None
        assert not proxy.calls
        assert not any("authorization" in asked.headers for asked in server.calls)


def test_a_busy_gateway_is_asked_again(make):
    turns = []

    def respond(asked, wire):
        turns.append(asked)
        if len(turns) % 3:
            wire.answer(503, b"later")
        else:
            honest(BLOCKS)(asked, wire)

    with Server(respond) as server:
        got, error = read(make(server.url, retries=2))
    assert error is None
    same(got, DATA)


def test_streams_may_be_left_early_and_closed_twice(make):
    with Server(honest(BLOCKS)) as server:
        stream = make(server.url).open(ADDRESS, max_size=len(DATA))
        stream.read(10)
        stream.close()
        stream.close()
        with contextlib.suppress(ValueError):
            assert not stream.read(1)


def test_any_number_of_streams_is_open_at_once(make):
    with Server(honest(BLOCKS)) as server, contextlib.ExitStack() as held:
        store = make(server.url)
        streams = [held.enter_context(store.open(ADDRESS, max_size=len(DATA))) for _ in range(30)]
        for stream in streams:
            assert stream.read(10) == DATA[:10]
        for stream in streams:
            same(stream.read(), DATA[10:])


def test_a_probe_tells_trustless_gateways_from_others(make):
    def trustless(asked, wire):
        assert asked.path == "/ipfs/bafkqaaa"
        wire.answer(200, b"", content_type="application/vnd.ipld.raw")

    with Server(trustless) as good, Server(single_blocks(page)) as none:
        findings = list(make(good.url, none.url).diagnose())
    assert [finding.hint is None for finding in findings] == [True, False]
    assert "no trustless gateway" in findings[1].found
