"""A node is told everything, believed nothing, and whatever it does ends in the content pinned or a typed error."""

from __future__ import annotations

import datetime as dt
import io
import ipaddress
import json
import ssl
import time
from hashlib import shake_128

import pytest
from balance_ipfs.address import Address
from balance_ipfs.node import Node
from balance_ipfs.settings import IpfsSettings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balance_core import cid
from balance_core.errors import (
    BlobNotFound,
    ConfigError,
    ContentMismatch,
    StorageError,
    StorageUnreachable,
)

from .faults import Server, blocks_of

pytestmark = pytest.mark.plugin("ipfs")

DATA = shake_128(b"node").digest(2 * 2**18 + 5)
ADDRESS, BLOCKS = blocks_of(DATA)
ABSENT = cid.of_bytes(b"absent")


class ScriptedNode:
    """A node in memory that does as it should, except for the calls that a test replaces."""

    def __init__(self, **replaced):
        self.replaced = {name.replace("_", "/"): act for name, act in replaced.items()}
        self.blocks = dict(BLOCKS)
        self.pins = set()
        self.received = b""

    def __call__(self, asked, wire):
        name = asked.path.removeprefix("/api/v0/")
        act = self.replaced.get(name) or getattr(self, name.replace("/", "_"))
        act(asked, wire)

    def say(self, wire, *values, status=200):
        wire.answer(status, b"".join(json.dumps(value).encode() + b"\n" for value in values))

    def fail(self, wire, message):
        self.say(wire, {"Message": message, "Code": 0, "Type": "error"}, status=500)

    def version(self, _, wire):
        self.say(wire, {"Version": "1.2.3"})

    def add(self, asked, wire):
        self.received = asked.read_body()
        if len(self.received) == int(asked.headers["content-length"]):
            self.say(wire, {"Name": "blob", "Hash": cid.of_bytes(file_in(self.received)), "Size": "1"})

    def pin_add(self, asked, wire):
        self.pins.add(asked.address)
        self.say(wire, {"Pins": [asked.address]})

    def pin_rm(self, asked, wire):
        if asked.address not in self.pins:
            return self.fail(wire, "not pinned or pinned indirectly")
        self.pins.discard(asked.address)
        return self.say(wire, {"Pins": [asked.address]})

    def pin_ls(self, asked, wire):
        if not asked.address.startswith("b"):
            return self.say(wire, *({"Cid": pin, "Type": "recursive"} for pin in sorted(self.pins)))
        if asked.address not in self.pins:
            return self.fail(wire, f"path '{asked.address}' is not pinned")
        return self.say(wire, {"Keys": {asked.address: {"Type": "recursive"}}})

    def block_get(self, asked, wire):
        block = self.blocks.get(asked.address)
        if block is None:
            return self.fail(wire, "block was not found locally (offline): ipld: could not find it")
        return wire.answer(200, block)

    def block_stat(self, asked, wire):
        if asked.address in self.blocks:
            self.say(wire, {"Key": asked.address, "Size": 1})
        else:
            self.fail(wire, "not found")

    def cat(self, _, wire):
        wire.answer(200, DATA)


def file_in(body):
    """Return the one file of a multipart body."""
    boundary, _, rest = body.partition(b"\r\n")
    head, _, tail = rest.partition(b"\r\n\r\n")
    assert b'name="file"' in head
    assert b"application/octet-stream" in head
    content, _, end = tail.rpartition(b"\r\n" + boundary)
    assert end == b"--\r\n"
    return content


def put(store, data=DATA):
    return store.put(io.BytesIO(data))


def names(server):
    return [asked.path.removeprefix("/api/v0/") for asked in server.calls]


def test_a_put_sends_every_parameter_computes_the_address_itself_and_ends_with_a_confirmed_pin(make):
    node = ScriptedNode()
    with Server(node) as server:
        assert put(make(rpc=server.url)) == ADDRESS
        assert names(server) == ["add", "pin/add", "pin/ls"]
        assert file_in(node.received) == DATA
        assert {asked.method for asked in server.calls} == {"POST"}
        assert all(asked.query["timeout"].endswith("ms") for asked in server.calls)
        sent = server.calls[0].query
    wanted = "cid-version=1&raw-leaves=true&chunker=size-262144&cid-base=base32&hash=sha2-256&pin=false&inline=false"
    assert dict(pair.split("=") for pair in wanted.split("&")).items() <= sent.items()
    assert sent["max-file-links"] == "174"
    assert node.pins == {ADDRESS}


@pytest.mark.parametrize("text", [str(Address.parse(ADDRESS)), "B" + ADDRESS[1:].upper(), None])
def test_an_address_in_another_base_is_the_same_address(make, text):
    answer = text or "f" + Address.parse(ADDRESS).binary.hex()
    node = ScriptedNode(add=lambda asked, wire: (asked.read_body(), node.say(wire, {"Hash": answer})))
    with Server(node) as server:
        assert put(make(rpc=server.url)) == ADDRESS


@pytest.mark.parametrize(
    "answer",
    [
        cid.of_bytes(b"other"),
        str(Address(0, 0x70, Address.parse(ADDRESS).digest)),
        blocks_of(DATA, cid.Layout(2**20))[0],
    ],
    ids=["other content", "other version", "other layout"],
)
def test_a_node_that_comes_to_another_address_is_told_to_pin_nothing(make, answer):
    node = ScriptedNode(add=lambda asked, wire: (asked.read_body(), node.say(wire, {"Hash": answer})))
    with Server(node) as server:
        with pytest.raises(ContentMismatch, match=answer) as caught:
            put(make(rpc=server.url))
        assert names(server) == ["add"]
    assert "nothing was pinned" in caught.value.hint


def killed(asked, _):
    asked.body.read(100_000)


def dumb(asked, wire):
    asked.read_body()
    wire.answer(200, b"")


def late_error(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Name":"blob"}\n{"Message":"disk full","Code":0,"Type":"error"}\n')


def half_answer(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Hash":"baf', content_length="100")


def garbage(asked, wire):
    asked.read_body()
    wire.answer(200, b"[" * 100_000)


def flood(asked, wire):
    asked.read_body()
    wire.head(200, {})
    while True:
        wire.send(b"x" * 65536)


def no_address(asked, wire):
    asked.read_body()
    wire.answer(200, b'{"Hash":"../../etc/passwd"}\n')


def hanging(asked, wire):
    asked.read_body()
    wire.hang()


def deaf(_, wire):
    time.sleep(4)
    wire.hang()


def refuses(status, body):
    def act(asked, wire):
        asked.read_body()
        wire.answer(status, body)

    return act


ADD_FAULTS = {
    "broke off": (killed, StorageUnreachable),
    "does not say": (dumb, StorageError),
    "disk full": (late_error, StorageError),
    "broke": (half_answer, StorageUnreachable),
    "does not say ": (garbage, StorageError),
    "a node does not say": (flood, StorageError),
    "nobody can use": (no_address, StorageError),
    "did not answer": (hanging, StorageUnreachable),
    "no space left on device": (
        refuses(500, b'{"Message":"no space\\nleft on\\u001b device","Code":0}'),
        StorageError,
    ),
    "500: <html>": (refuses(500, b"<html>\x1b[2J"), StorageError),
    "500: without a reason": (refuses(500, b""), StorageError),
    "refuses the call add": (refuses(403, b"403 - Forbidden"), StorageUnreachable),
    "(401)": (refuses(401, b""), StorageUnreachable),
    "does not know the call": (refuses(404, b"404 page not found"), StorageUnreachable),
    "(405)": (refuses(405, b"405 - Method Not Allowed"), StorageUnreachable),
}


@pytest.mark.parametrize("said", ADD_FAULTS)
def test_an_add_that_fails_is_a_typed_error_is_made_once_and_pins_nothing(make, said):
    act, kind = ADD_FAULTS[said]
    with Server(ScriptedNode(add=act)) as server:
        with pytest.raises(kind) as caught:
            put(make(rpc=server.url, timeout=0.5, slowest=10**7, retries=2))
        assert names(server) == ["add"]
    assert said in caught.value.message + " "
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_a_node_that_does_not_listen_is_given_up(make):
    large = bytes(2**25)
    started = time.monotonic()
    with Server(ScriptedNode(add=deaf)) as server, pytest.raises(StorageUnreachable, match="within"):
        put(make(rpc=server.url, timeout=0.3, slowest=10**9), large)
    assert time.monotonic() - started < 10


def test_a_node_that_is_not_there_is_named_with_what_to_do(make):
    with pytest.raises(StorageUnreachable, match="cannot be reached") as caught:
        put(make(rpc="http://127.0.0.1:1", retries=1))
    assert "ipfs daemon" in caught.value.hint
    assert "repo.lock" in caught.value.hint


@pytest.mark.parametrize("kind", ["indirect", "direct", "none"])
def test_a_put_without_a_confirmed_pin_fails(make, kind):
    def pin_ls(asked, wire):
        if kind == "none":
            node.fail(wire, f"path '{asked.address}' is not pinned")
        else:
            node.say(wire, {"Keys": {asked.address: {"Type": kind}}})

    node = ScriptedNode(pin_ls=pin_ls)
    with Server(node) as server, pytest.raises(StorageError, match="does not confirm"):
        put(make(rpc=server.url))


def test_calls_that_may_be_made_twice_are_and_others_are_not(make):
    turns = []

    def once(asked, wire):
        turns.append(asked)
        if len(turns) > 1:
            node.pin_ls(asked, wire)

    node = ScriptedNode(pin_ls=once)
    node.pins.add(ADDRESS)
    with Server(node) as server:
        assert make(rpc=server.url, retries=1).has(ADDRESS)
        assert len(turns) == 2
        turns.clear()
        with pytest.raises(StorageUnreachable, match="broke off"):
            make(rpc=server.url, retries=0).has(ADDRESS)


def test_a_redirected_node_is_refused_though_gateways_may_redirect(make):
    with (
        Server(ScriptedNode()) as other,
        Server(
            lambda asked, wire: (asked.read_body(), wire.answer(307, b"", location=other.url + asked.path))
        ) as server,
    ):
        with pytest.raises(StorageUnreachable, match="elsewhere"):
            put(make(rpc=server.url, allow_redirects=True))
        assert not other.calls


def test_the_authorization_comes_from_the_environment_and_shows_nowhere(make, monkeypatch):
    monkeypatch.setenv("BALANCE_IPFS_AUTHORIZATION", "Bearer hush")
    with Server(ScriptedNode(version=refuses(403, b"no"))) as server:
        store = make(rpc=server.url)
        assert put(store) == ADDRESS
        findings = list(store.diagnose())
        assert all(asked.headers["authorization"] == "Bearer hush" for asked in server.calls)
    assert "hush" not in repr((findings, store.settings))


def test_pinning_and_unpinning_know_absent_content(make):
    node = ScriptedNode()
    with Server(node) as server:
        store = make(rpc=server.url)
        assert not store.has(ADDRESS)
        store.pin(ADDRESS)
        assert store.has(ADDRESS)
        assert list(store.pinned()) == [ADDRESS]
        store.unpin(ADDRESS)
        store.unpin(ADDRESS)
        assert not store.has(ADDRESS)
        for call in (store.pin, store.unpin):
            with pytest.raises(BlobNotFound):
                call(ABSENT)


def test_a_node_that_searches_without_end_is_not_waited_for(make):
    started = time.monotonic()
    with Server(ScriptedNode(block_get=lambda _, wire: wire.hang())) as server:
        store = make(rpc=server.url, timeout=0.3)
        for call in (store.pin, lambda address: store.open(address, max_size=1)):
            with pytest.raises(StorageUnreachable, match="did not answer"):
                call(ABSENT)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("said", ["context deadline exceeded", "Failed to get block: request timed out"])
def test_a_search_that_the_node_gave_up_found_nothing(make, said):
    node = ScriptedNode(block_get=lambda _, wire: node.fail(wire, said))
    with Server(node) as server, pytest.raises(BlobNotFound):
        make(rpc=server.url).open(ABSENT, max_size=1)


PINS = [
    ADDRESS,
    "bafyreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi",
    "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
]
LISTS = {
    "a line each": "".join(f'{{"Cid":"{pin}","Type":"recursive"}}\n' for pin in PINS),
    "all at once": json.dumps({"Keys": {pin: {"Type": "recursive"} for pin in PINS}}),
}


@pytest.mark.parametrize("form", LISTS)
def test_only_listed_pins_of_files_are_listed(make, form):
    with Server(ScriptedNode(pin_ls=lambda _, wire: wire.answer(200, LISTS[form].encode()))) as server:
        assert list(make(rpc=server.url).pinned()) == [PINS[0], PINS[2]]


@pytest.mark.parametrize("nonsense", [b'{"Cid":5}\n', b"{}\n", b"5\n", b"\xff\n", b"[" * 10**6])
def test_a_list_of_pins_that_is_none_is_refused(make, nonsense):
    node = ScriptedNode(pin_ls=lambda _, wire: wire.answer(200, nonsense))
    with Server(node) as server, pytest.raises(StorageError, match="does not say"):
        list(make(rpc=server.url).pinned())


@pytest.mark.parametrize(
    "cat",
    [
        lambda _, wire: wire.answer(200, bytes(len(DATA))),
        lambda _, wire: wire.answer(200, DATA[: 2**18 + 7]),
        lambda _, wire: wire.answer(200, DATA[:1000], content_length=str(len(DATA))),
        lambda _, wire: wire.answer(500, b"no"),
        lambda _, wire: wire.hang(),
    ],
    ids=["lies", "ends early", "breaks off", "refused", "silent"],
)
def test_content_that_comes_in_one_stream_is_checked_leaf_by_leaf_and_done_without_if_it_fails(make, cat):
    with Server(ScriptedNode(cat=cat)) as server:
        with make(rpc=server.url, timeout=0.5).open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        assert names(server).count("block/get") > 1


def test_one_stream_is_enough_where_it_is_right(make):
    with Server(ScriptedNode()) as server:
        with make(rpc=server.url).open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        assert names(server) == ["block/get", "cat"]


def test_a_gateway_stands_in_for_a_node_that_is_down(make):
    from .faults import honest

    with Server(honest(BLOCKS)) as gateway:
        store = make(gateway.url, rpc="http://127.0.0.1:1")
        with store.open(ADDRESS, max_size=2**20) as stream:
            assert cid.of_bytes(stream.read()) == ADDRESS
        with pytest.raises(StorageUnreachable):
            store.has(ADDRESS)


class Shrinking(io.BytesIO):
    """A source that is cut off once it was measured."""

    def seek(self, position, whence=0):
        found = super().seek(position, whence)
        if whence == io.SEEK_END:
            self.truncate(len(DATA) - 1)
        return found


def test_a_source_that_gets_shorter_while_it_is_sent_is_found(make):
    with Server(ScriptedNode()) as server:
        with pytest.raises(StorageError, match="became shorter"):
            make(rpc=server.url).put(Shrinking(DATA))
        assert "pin/add" not in names(server)


def test_a_node_that_answers_before_it_has_everything_is_not_believed(make, monkeypatch):
    def early(_, content, size):
        del size
        return Address.parse(cid.of_bytes(next(iter(content))))

    monkeypatch.setattr(Node, "add", early)
    with pytest.raises(StorageError, match="before it had been sent everything"):
        make(rpc="http://127.0.0.1:1").put(io.BytesIO(bytes(3 * 2**20)))


def test_a_source_of_unknown_size_is_stored(make):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    with Server(ScriptedNode()) as server:
        assert make(rpc=server.url).put(Pipe(DATA)) == ADDRESS


def test_a_source_is_stored_from_where_it_stands(make):
    source = io.BytesIO(b"head" + DATA)
    source.seek(4)
    with Server(ScriptedNode()) as server:
        assert make(rpc=server.url).put(source) == ADDRESS


def test_without_a_node_nothing_is_written(make):
    for call in (
        put,
        lambda store: store.pin(ADDRESS),
        lambda store: store.unpin(ADDRESS),
        lambda store: list(store.pinned()),
    ):
        with pytest.raises(ConfigError, match="read only") as caught:
            call(make("http://127.0.0.1:1"))
        assert "rpc_url" in caught.value.hint


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for loopback that nobody vouches for, and a server's end of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    path, secret = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return path, context


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_it_is_named(make, certificate):
    path, context = certificate
    with Server(ScriptedNode(), tls=context) as server:
        with pytest.raises(StorageUnreachable, match=r"certificate of .* cannot be trusted") as caught:
            put(make(rpc=server.url))
        assert "ca_file" in caught.value.hint
        assert put(make(rpc=server.url, ca_file=path)) == ADDRESS
    with pytest.raises(ConfigError, match="cannot be read"):
        put(make(rpc=server.url, ca_file=path.with_name("none.pem")))


def test_a_server_without_tls_behind_an_https_address_is_named(make):
    with Server(ScriptedNode()) as server, pytest.raises(StorageUnreachable, match=r"TLS|broke off"):
        put(make(rpc=server.url.replace("http:", "https:")))


def test_doctor_tries_the_node_and_says_what_is_wrong(make):
    with Server(ScriptedNode()) as server:
        good = list(make(rpc=server.url).diagnose())
        assert [finding.hint for finding in good] == [None] * 3
        assert server.calls[1].query["only-hash"] == "true"
        assert "pin/add" not in names(server)
    node = ScriptedNode(add=lambda asked, wire: (asked.read_body(), node.say(wire, {"Hash": ABSENT})))
    with Server(node) as server:
        assert "other addresses" in " ".join(f.found for f in make(rpc=server.url).diagnose() if f.hint)
    (lost,) = make(rpc="http://127.0.0.1:1").diagnose()
    assert lost.hint
    (none,) = make().diagnose()
    assert none.hint


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5001", "ftp://x", "http://", "http://me:secret@x", "http://x?y=1", "http://x#y", "file:///x"]
)
def test_addresses_of_servers_are_checked_before_they_are_called(url):
    for values in ({"rpc_url": url}, {"gateways": ["http://good.example", url]}):
        with pytest.raises(ConfigError):
            IpfsSettings.parse(values, owner="ipfs")


def test_gateways_are_listed_with_commas_and_the_node_may_be_none():
    given = IpfsSettings.parse(
        {"rpc_url": "none", "gateways": "http://a.example/, https://b.example/x"}, owner="ipfs"
    )
    assert given.rpc_url is None
    assert given.gateways == ("http://a.example", "https://b.example/x")
