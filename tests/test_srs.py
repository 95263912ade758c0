"""Reference strings: the format is read to the last byte, and trust is told from the points."""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from balance_core import bn254, srs
from balance_core.errors import ConfigError
from balance_core.records import Trust
from balance_core.srs import CURVE, Parameters, SrsStore

# tau * G2 of powersOfTau28_hez_final_08.ptau (docs/srs.md), as four numbers.
CEREMONY_S_G2 = bn254.raw(
    21831381940315734285607113342023901060522397560371972897001948545212302161822,
    17231025384763736816414546592865244497437017442647097510447326538965263639101,
    2388026358213174446665280700919698872609886601280537296205114254867301080648,
    11507326595632554467052522095592665270651932854513688777769618397986436103170,
)


def add(point, other):
    """Add two affine points of G1, as the textbook does."""
    (x1, y1), (x2, y2) = point, other
    slope = 3 * x1 * x1 * pow(2 * y1, -1, bn254.P) if point == other else (y2 - y1) * pow(x2 - x1, -1, bn254.P)
    x3 = (slope * slope - x1 - x2) % bn254.P
    return x3, (slope * (x1 - x3) - y1) % bn254.P


def string(k, s_g2=bn254.G2_GENERATOR):
    """Return a string of the format; its powers are of the secret 2, whatever s_g2 says."""
    points, point = [], (1, 2)
    for _ in range(1 << k):
        points.append(bn254.raw(*point))
        point = add(point, point)
    g1 = b"".join(points)
    return k.to_bytes(4, "little") + g1 + g1 + bn254.G2_GENERATOR + s_g2


@pytest.fixture
def store(tmp_path):
    return SrsStore(tmp_path / "srs")


@pytest.fixture
def write(tmp_path):
    def written(data, name="string"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return written


def test_generators_are_those_of_the_curve_in_montgomery_form():
    """From first principles: x * 2^256 mod p, little endian."""
    assert int.from_bytes(bn254.G1_GENERATOR[:32], "little") == pow(2, 256, bn254.P)
    assert int.from_bytes(bn254.G1_GENERATOR[32:], "little") == pow(2, 257, bn254.P)
    assert bn254.count_off_curve(bn254.G1_GENERATOR) == 0
    assert bn254.is_in_g2(bn254.G2_GENERATOR)


def test_modulus_and_order_are_those_of_the_curves_parameter():
    """p and r are polynomials in the parameter u of the Barreto-Naehrig family (EIP-196 has the same numbers)."""
    u = 4965661367192848881
    assert 36 * u**4 + 36 * u**3 + 24 * u**2 + 6 * u + 1 == bn254.P
    assert 36 * u**4 + 36 * u**3 + 18 * u**2 + 6 * u + 1 == bn254.R


def test_points_off_the_curve_are_counted():
    good = bn254.raw(*add((1, 2), (1, 2)))
    assert bn254.count_off_curve(good + bn254.raw(1, 3) + bytes(64) + good) == 2
    overflow = (int.from_bytes(good[:32], "little") + bn254.P).to_bytes(32, "little") + good[32:]
    assert bn254.count_off_curve(overflow) == 1


def test_points_of_the_twist_outside_of_the_group_are_refused():
    """Most points of the twist are outside: its number of points has a large cofactor."""
    assert bn254.is_in_g2(CEREMONY_S_G2)
    found = 0
    for c0 in range(60):
        point = on_twist((c0, 1))
        if point is not None:
            assert not bn254.is_in_g2(bn254.raw(*point))
            found += 1
    assert found > 10
    assert not bn254.is_in_g2(bytes(128))
    assert not bn254.is_in_g2(bn254.G2_GENERATOR[:-1])
    shifted = (int.from_bytes(CEREMONY_S_G2[:32], "little") + bn254.P).to_bytes(32, "little") + CEREMONY_S_G2[32:]
    assert not bn254.is_in_g2(shifted)


def on_twist(x):
    """Return a point of the twist with this x, or None: y by the square root in F_p(i) for p = 3 mod 4."""
    p = bn254.P

    def mul(a, b):
        return (a[0] * b[0] - a[1] * b[1]) % p, (a[0] * b[1] + a[1] * b[0]) % p

    b = mul((3, 0), (9 * pow(82, -1, p) % p, -pow(82, -1, p) % p))
    cube = mul(mul(x, x), x)
    square = (cube[0] + b[0]) % p, (cube[1] + b[1]) % p
    norm = (square[0] ** 2 + square[1] ** 2) % p
    root = pow(norm, (p + 1) // 4, p)
    if root * root % p != norm:
        return None
    for sign in (1, -1):
        half = (square[0] + sign * root) * pow(2, -1, p) % p
        real = pow(half, (p + 1) // 4, p)
        if real and real * real % p == half:
            y = real, square[1] * pow(2 * real, -1, p) % p
            if mul(y, y) == square:
                return (*x, *y)
    return None


def test_ceremony_is_the_pinned_point_and_nothing_else():
    pinned = Parameters(bn254.G1_GENERATOR, bn254.G2_GENERATOR, CEREMONY_S_G2)
    assert pinned.setup_trust.trust is Trust.CEREMONY
    assert pinned.digest in srs.CEREMONIES
    test = Parameters(bn254.G1_GENERATOR, bn254.G2_GENERATOR, bn254.G2_GENERATOR)
    assert test.setup_trust.trust is Trust.INSECURE_TEST


def test_cut_is_read_back(write):
    path = write(string(3))
    data = srs.cut(path)
    assert len(data) == srs.CUT_BYTES == 388
    assert Parameters.of_cut(data).cut == data


def test_added_string_is_found_by_curve_size_and_digest(store, write):
    added = store.add(write(string(3)))
    assert (added.curve, added.k, added.setup_trust.trust) == (CURVE, 3, Trust.INSECURE_TEST)
    assert added.path.read_bytes() == string(3)
    assert store.find(CURVE, 3) == added
    assert store.find(CURVE, 3, added.parameters) == added
    assert store.find(CURVE, 3, "0" * 64) is None
    assert store.find("bls12-381", 3) is None
    assert store.all() == [added]
    assert store.add(write(string(3))) == added
    assert store.all() == [added]


def test_longer_strings_serve_where_they_are_trusted_or_named(store, write):
    test = store.add(write(string(4)))
    assert store.find(CURVE, 3) is None
    assert store.find(CURVE, 3, test.parameters) == test
    ceremony = store.add(write(string(5, CEREMONY_S_G2)))
    assert store.find(CURVE, 3) == ceremony
    assert store.find(CURVE, 4) == ceremony
    assert store.find(CURVE, 6) is None


def test_ceremony_comes_first(store, write):
    store.add(write(string(3)))
    ceremony = store.add(write(string(3, CEREMONY_S_G2)))
    assert ceremony.setup_trust.trust is Trust.CEREMONY
    assert store.find(CURVE, 3) == ceremony
    assert [found.setup_trust.trust for found in store.all()] == [Trust.CEREMONY, Trust.INSECURE_TEST]


def test_name_of_a_file_gives_no_trust(store, write):
    """A test string under the name of a ceremony's is not taken for one, nor for anything."""
    ceremony = store.add(write(string(3, CEREMONY_S_G2)))
    ceremony.path.chmod(0o644)
    ceremony.path.write_bytes(string(3))
    assert store.all() == []
    assert store.find(CURVE, 3) is None


def test_damaged_file_is_not_found(store, write):
    added = store.add(write(string(3)))
    data = bytearray(string(3))
    data[200:264] = data[300:364]  # another point of the curve
    added.path.chmod(0o644)
    added.path.write_bytes(data)
    assert store.find(CURVE, 3) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "do not fit its header"),
        (lambda data: data[:-1], "do not fit its header"),
        (lambda data: data + b"\0", "do not fit its header"),
        (lambda data: b"\4" + data[1:], "do not fit its header"),
        (lambda data: b"\xff\xff\xff\xff" + data[4:], "do not fit its header"),
        (lambda data: data[:4] + data[68:132] + data[68:], "generators"),
        (lambda data: data[:-256] + data[-128:] + data[-128:], "not a point|generators"),
        (lambda data: data[:-128] + bytes(128), "not a point"),
        (lambda data: data[:100] + b"\1" + data[101:], "1 points of .* not on the curve"),
    ],
)
def test_files_that_are_no_strings_are_refused(store, write, damage, message):
    data = string(3, CEREMONY_S_G2)
    with pytest.raises(ConfigError, match=message):
        store.add(write(damage(data)))
    assert store.all() == []
    assert not [path for path in store.folder.iterdir() if path.name.startswith((".partial", CURVE))]


def test_missing_file_is_refused_by_name(store, tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        store.add(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        srs.cut(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda cut: cut[:-1],
        lambda cut: cut + b"\0",
        lambda cut: b"\1" + cut[1:],
        lambda cut: cut[:68] + bytes(64) + cut[132:],
        lambda cut: cut[:-128] + bytes(128),
        lambda _: bytes(388),
    ],
)
def test_cut_has_one_form(change):
    cut = Parameters(bn254.G1_GENERATOR, bn254.G2_GENERATOR, CEREMONY_S_G2).cut
    with pytest.raises(ConfigError):
        Parameters.of_cut(change(cut))


def test_made_string_is_kept_once(store):
    calls = []

    def make(target):
        calls.append(target)
        target.write_bytes(string(3))

    first = store.make(CURVE, 3, make)
    assert store.make(CURVE, 3, make) == first
    assert len(calls) == 1
    assert first.setup_trust.trust is Trust.INSECURE_TEST


def test_string_of_another_size_than_asked_for_is_not_kept(store):
    with pytest.raises(ConfigError, match=r"asked for 2\^4 powers"):
        store.make(CURVE, 4, lambda target: target.write_bytes(string(3)))
    assert store.all() == []


def test_failure_while_making_leaves_nothing(store):
    def fail(target):
        target.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.make(CURVE, 3, fail)
    assert [path.name for path in store.folder.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_swept(store, write):
    left = store.folder / ".partial-left"
    left.mkdir(parents=True)
    (left / "string").write_bytes(b"half")
    store.add(write(string(3)))
    assert not left.exists()


def test_two_processes_add_at_once(store, write):
    paths = [write(string(3 + index % 3), f"string{index}") for index in range(6)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes:
        added = list(processes.map(_add, [(store.folder, path) for path in paths]))
    assert {found.k for found in store.all()} == {3, 4, 5}
    assert len(store.all()) == 3
    for found in added:
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.content


def _add(task):
    folder, path = task
    return SrsStore(folder).add(path)


def test_removed_string_is_gone(store, write):
    added = store.add(write(string(3)))
    store.remove(added)
    assert store.find(CURVE, 3) is None
    store.remove(added)


def test_absent_folder_holds_nothing(store):
    assert store.all() == []
    assert store.find(CURVE, 3) is None


def test_what_a_backend_writes_is_checked_like_any_file(store):
    kept = store.receive(lambda target: target.write_bytes(string(2)))
    assert (kept.k, kept.setup_trust.trust) == (2, Trust.INSECURE_TEST)
    with pytest.raises(ConfigError, match="not on the curve"):
        store.receive(lambda target: target.write_bytes(string(2)[:100] + bytes([9]) + string(2)[101:]))
    assert len(store.all()) == 1


def test_a_ceremonys_file_is_told_by_its_first_bytes(write):
    assert srs.is_powers_of_tau(write(b"ptau" + bytes(8)))
    assert not srs.is_powers_of_tau(write(string(1)))
    with pytest.raises(ConfigError, match="cannot be read"):
        srs.is_powers_of_tau(write(b"").parent / "none")
