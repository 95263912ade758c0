"""Which server is called, with which certificate and word, and what a user is told when that fails."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl

import pytest
from balance_ipfs.settings import IpfsSettings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balance_core.errors import ConfigError, StorageUnreachable

from .faults import Server
from .scripted_node import ABSENT, ADDRESS, ScriptedNode, names, put, refuses

pytestmark = pytest.mark.plugin("ipfs")


def test_a_node_that_is_not_there_is_named_with_what_to_do(make):
    with pytest.raises(StorageUnreachable, match="cannot be reached") as caught:
        put(make(rpc="http://127.0.0.1:1", retries=1))
    assert "ipfs daemon" in caught.value.hint
    assert "repo.lock" in caught.value.hint


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
