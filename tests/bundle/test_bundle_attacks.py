"""What somebody may send in place of a bundle."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core import cid, zip_form
from balance_core.bundle import Bundle, BundleManifest, MemberDigest
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.records import Proof
from balance_core.signing import SignedRegistration, SigningKey

from .conftest import KEY, make

BUNDLE = make(claims={"receipt": b'{"n":1}'})
DATA = BUNDLE.to_bytes()
MEMBERS = zip_form.decode(DATA, max_members=99)


def refused(data: bytes, match: str | None = None, error: type[BalanceError] = ConfigError) -> None:
    with pytest.raises(error, match=match):
        Bundle.from_bytes(data)


def packed(members) -> bytes:
    return zip_form.encode(list(members.items()))


def relisted(members) -> bytes:
    """Pack members under a manifest that lists them: what somebody who knows the format would do."""
    rest = {name: data for name, data in members.items() if name != "manifest.json"}
    digests = {name: MemberDigest(cid=cid.of_bytes(data), size=len(data)) for name, data in rest.items()}
    manifest = BundleManifest(backend="fake", members=digests)
    return packed({"manifest.json": manifest.to_json(), **rest})


def zipped(members, **options) -> bytes:
    """Pack with Python's own zipfile."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def test_a_relisted_bundle_is_a_bundle():
    assert relisted(MEMBERS) == DATA


def test_no_flipped_byte_is_taken_for_the_bundle():
    for offset in range(len(DATA)):
        for bits in (0x01, 0x80):
            data = bytearray(DATA)
            data[offset] ^= bits
            with pytest.raises((ConfigError, InvalidProof)):
                Bundle.from_bytes(bytes(data))


def test_no_cut_or_extended_file_is_taken_for_the_bundle():
    for size in range(len(DATA)):
        refused(DATA[:size])
    for more in (b"\x00", b"PK", DATA, b"PK\x05\x06" + bytes(18)):
        refused(DATA + more)
        refused(more + DATA)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(DATA)), st.integers(0, 200))
def test_noise_is_refused(noise, offset, skipped):
    data = DATA[:offset] + noise + DATA[offset + skipped :]
    if data != DATA:
        with pytest.raises((ConfigError, InvalidProof)):
            Bundle.from_bytes(data)


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x89PNG", b"{}", bytes(10**6)]
)
def test_what_is_no_archive_is_refused(data):
    refused(data, "not a bundle|ends inside")


def test_a_decompression_bomb_is_refused_without_being_unpacked():
    members = [*MEMBERS.items(), ("claims/bomb.json", b"0" * 10**8)]
    data = zipped(members, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        refused(data, "is compressed, encrypted or has extra fields")
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_member_that_claims_to_be_larger_than_the_file_is_refused():
    at = DATA.index(b"PK\x03\x04")
    for size in (2**32 - 1, 2**31, len(DATA)):
        header = bytearray(DATA)
        struct.pack_into("<II", header, at + 18, size, size)
        refused(bytes(header), "ends inside manifest.json")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_a_bundle_again_with_compression_is_refused(method):
    refused(zipped(MEMBERS.items(), compression=method), "is compressed, encrypted or has extra fields")


def test_packing_a_bundle_again_without_compression_is_refused_too():
    refused(zipped(MEMBERS.items()), "not in its one form")


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "key/../../evil",
        "key//vk",
        "key/",
        "a/b/c",
        "C:\\evil",
        "key\\vk",
        "con\x00",
        ".",
        "KEY/vk",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name):
    data = zipped([*MEMBERS.items(), (name, b"evil")])
    # In zipfile's own archive the form is wrong anyway, so the name is put into a true one as well.
    place = ("key/" + "x" * len(name.encode())).encode()[: len(name.encode())]
    if len(place) > 4:
        true = relisted({**MEMBERS, place.decode(): b"evil"}).replace(place, name.encode())
        refused(true)
    refused(data)


def test_names_that_are_not_ascii_or_not_text_are_refused():
    place = b"key/xxxx"
    true = relisted({**MEMBERS, place.decode(): b"evil"})
    for name in (b"key/\xff\xfe\xfdx", "key/é".encode() + b"xx", b"key/x\x00xx", b"key/x\nxx", b"key/x xx"):
        refused(true.replace(place, name))


def test_member_names_are_unique():
    members = list(MEMBERS.items())
    for extra in (members[-1], ("proof.bin", b"other")):
        refused(b"".join(zip_form._pieces([*members, extra])), "twice")


def test_ten_thousands_of_members_are_refused_at_once():
    local = struct.Struct("<4sHHHHHIIIHH")
    entries = b"".join(
        local.pack(b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 9, 0) + f"key/{number:05}".encode()
        for number in range(100_000)
    )
    start = time.perf_counter()
    refused(entries, "more than 84 members")
    assert time.perf_counter() - start < 1


def test_unknown_members_are_refused():
    for name in ("statement.json", "extra", "key", "claims/x", "claims/.json", "registration/x", "other/vk"):
        with pytest.raises(ConfigError):
            Bundle.from_bytes(relisted({**MEMBERS, name: b"{}"}))


def test_members_in_another_order_are_refused():
    first, *rest = MEMBERS.items()
    refused(packed(dict([first, *reversed(rest)])), "in another order")


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_missing_member_is_named(name):
    members = {key: data for key, data in MEMBERS.items() if key != name}
    refused(packed(members), name, ConfigError if name == "manifest.json" else InvalidProof)
    if not name.startswith("claims/"):
        with pytest.raises((ConfigError, InvalidProof)):
            Bundle.from_bytes(relisted(members) if name != "manifest.json" else packed(members))


def test_members_swapped_between_two_bundles_are_named():
    parts = {"settings.json": b"{ }", "vk": b"other"}
    other = make(parts=parts, commitment=b"x", proof=b"x", name="other", claims={"receipt": b"{}"})
    theirs = zip_form.decode(other.to_bytes(), max_members=99)
    assert theirs.keys() == MEMBERS.keys()
    for name in theirs.keys() - {"manifest.json"}:
        refused(packed({**MEMBERS, name: theirs[name]}), f"^{name} is not the one that manifest.json", InvalidProof)
    refused(packed({**MEMBERS, "manifest.json": theirs["manifest.json"]}), "is not the one that", InvalidProof)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("registration.json", "the key is of the circuit"),
        ("key/vk", "the key is of the circuit"),
        ("commitment.json", "commitment.json is"),
    ],
)
def test_swapped_members_under_a_manifest_that_lists_them_contradict_each_other(name, match):
    other = make(parts={"settings.json": b"{}", "vk": b"other"}, commitment=b"x", name="other")
    theirs = zip_form.decode(other.to_bytes(), max_members=99)
    refused(relisted({**MEMBERS, name: theirs[name]}), match, InvalidProof)


def test_another_proof_under_the_same_registration_is_for_the_verifier_to_judge():
    swapped = Bundle.from_bytes(relisted({**MEMBERS, "proof.bin": b"other"}))
    assert swapped.proof == Proof("fake", b"other")


def test_a_manifest_for_another_backend_is_a_contradiction():
    digests = BundleManifest.from_json(MEMBERS["manifest.json"]).members
    manifest = BundleManifest(backend="other", members=digests)
    refused(packed({**MEMBERS, "manifest.json": manifest.to_json()}), "registration.json names 'fake'", InvalidProof)


@pytest.mark.parametrize("name", ["manifest.json", "registration.json", "commitment.json", "claims/receipt.json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b" " + data,
        lambda data: data + b"\n",
        lambda data: data.replace(b"{", b"{ ", 1),
        lambda data: b'{"zz":1,' + data[1:],
        lambda data: b'{"n":1,' + data[1:],
        lambda data: b'{"schema_version":1,' + data[1:],
        lambda _data: b"{" + b'"a":' * 50_000,
        lambda _data: b"[" * 100_000,
        lambda _data: b"",
        lambda _data: b"null",
        lambda _data: b"\xef\xbb\xbf{}",
        lambda _data: '{"schema_version":1}'.encode("utf-16"),
        lambda _data: b'{"' + b"x" * 17 * 2**20 + b'":1}',
    ],
)
def test_json_in_any_other_form_is_refused(name, change):
    members = {**MEMBERS, name: change(MEMBERS[name])}
    with pytest.raises((ConfigError, InvalidProof)):
        Bundle.from_bytes(packed(members) if name == "manifest.json" else relisted(members))


def central(data: bytes, index: int = 0) -> int:
    at = -1
    for _ in range(index + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


@pytest.mark.parametrize(
    ("field", "layout", "value"),
    [
        (4, "<H", 0x0014),  # made by MS-DOS
        (6, "<H", 45),  # needs ZIP64
        (8, "<H", 0x0001),  # encrypted
        (8, "<H", 0x0808),  # data descriptor, UTF-8 names
        (10, "<H", 8),  # deflated, only the directory says so
        (12, "<H", 1),
        (14, "<H", 34),
        (16, "<I", 0),
        (20, "<I", 0xFFFFFFFF),
        (24, "<I", 0xFFFFFFFF),
        (28, "<H", 5),
        (30, "<H", 4),
        (32, "<H", 4),
        (34, "<H", 1),
        (36, "<H", 1),
        (38, "<I", 0o120777 << 16),  # a symbolic link
        (38, "<I", 0o104755 << 16),  # setuid
        (38, "<I", 0x10),  # a folder
        (42, "<I", 0xFFFFFFFF),
        (42, "<I", 1),
    ],
)
def test_a_directory_that_says_something_else_is_refused(field, layout, value):
    for index in (0, 3):
        data = bytearray(DATA)
        struct.pack_into(layout, data, central(DATA, index) + field, value)
        refused(bytes(data), "not in its one form")


def test_a_directory_that_names_other_members_is_refused():
    refused(DATA[: central(DATA)] + DATA[central(DATA) :].replace(b"key/vk", b"key/vl"), "not in its one form")


def test_zip64_records_are_refused():
    end = DATA.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 8, 8, end - central(DATA), central(DATA))
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    refused(DATA[:end] + record + locator + DATA[end:], "not in its one form")
    overflowing = DATA[:end] + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    refused(overflowing, "not in its one form")


def test_a_member_hidden_between_the_listed_ones_is_refused():
    hidden = {**MEMBERS, "claims/z.json": b"{}"}
    everything = packed(hidden)
    # All members lie there, the directory lists all but one.
    directory = DATA[central(DATA) : DATA.rindex(b"PK\x05\x06")]
    count = len(MEMBERS)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), central(everything), 0)
    refused(everything[: central(everything)] + directory + end, "not in its one form")


def test_bytes_between_the_members_and_the_directory_are_refused():
    at = central(DATA)
    refused(DATA[:at] + b"hidden" + DATA[at:], "not in its one form")


def test_a_comment_is_refused():
    refused(DATA[:-2] + struct.pack("<H", 4) + b"more", "not in its one form")


def test_a_wrong_checksum_is_named():
    at = DATA.index(b'{"answer": 7}')
    refused(DATA[:at] + b'{"answer": 8}' + DATA[at + 13 :], "proof.bin is damaged")
    header = at - len("proof.bin") - 30
    data = bytearray(DATA)
    struct.pack_into("<I", data, header + 14, zlib.crc32(b"other"))
    refused(bytes(data), "proof.bin is damaged")


def test_the_provider_cannot_be_replaced_without_being_another_registration():
    thief = SigningKey.generate()
    registration = BUNDLE.registration.registration.model_copy(update={"provider": thief.public})
    stolen = relisted({**MEMBERS, "registration.json": SignedRegistration.sign(registration, thief).to_json()})
    refused(stolen, f"the commitment is of the provider {KEY.public}", InvalidProof)
    # Where the key binds the weights there is no commitment, and whoever has the key may register it too.
    public = make(commitment=None)
    registration = public.registration.registration.model_copy(update={"provider": thief.public})
    again = Bundle(SignedRegistration.sign(registration, thief), public.key, None, public.proof)
    assert Bundle.from_bytes(again.to_bytes()).registration_id != public.registration_id
    forged = SignedRegistration(
        registration=registration, signature=SignedRegistration.sign(BUNDLE.registration.registration, KEY).signature
    )
    refused(relisted({**MEMBERS, "registration.json": forged.to_json()}), "registration signature", InvalidProof)
