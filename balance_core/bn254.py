"""As much of the curve BN254 as it takes to judge points that strangers send: encodings and membership, no pairing.

y^2 = x^3 + 3 over F_p, and its sextic twist y^2 = x^3 + 3 / (9 + i) over F_p(i) with i^2 = -1; constants as in
EIP-196 and EIP-197. Raw bytes are coordinates in Montgomery form: x * 2^256 mod p, 32 bytes, little endian.
"""

from __future__ import annotations

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""The modulus of the coordinates."""
R = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The order of the groups, and the modulus of scalars and circuit values."""
MONTGOMERY = 2**256 % P
"""What a coordinate is multiplied by in raw bytes."""
G1_BYTES = 64
G2_BYTES = 128

Fp2 = tuple[int, int]
"""c0 + c1 * i."""

_MONTGOMERY_INVERSE = pow(MONTGOMERY, -1, P)
_THREE = 3 * pow(MONTGOMERY, 3, P) % P
"""The curve's constant where x and y stand in Montgomery form: Y^2 * 2^256 = X^3 + 3 * 2^768."""
_TWIST = (
    19485874751759354771024239261021720505790618469301721065564631296452457478373,
    266929791119991161246907387137283842545076965332900288569378510910307636690,
)
"""3 / (9 + i)."""


def raw(*coordinates: int) -> bytes:
    """Return coordinates as raw bytes."""
    return b"".join((value * MONTGOMERY % P).to_bytes(32, "little") for value in coordinates)


G1_GENERATOR = raw(1, 2)
G2_GENERATOR = raw(
    10857046999023057135944570762232829481370756359578518086990519993285655852781,
    11559732032986387107991004021392285783925812861821192530917403151452391805634,
    8495653923123431417604973247489272438418190587263600148770280649306958101930,
    4082367875863433681332203403145435568316851327593401208105741076214120093531,
)


def count_off_curve(points: bytes | memoryview) -> int:
    """Return how many of the raw G1 points are not finite points of the curve; all of them are in its one group."""
    wrong = 0
    for start in range(0, len(points), G1_BYTES):
        x = int.from_bytes(points[start : start + 32], "little")
        y = int.from_bytes(points[start + 32 : start + 64], "little")
        wrong += x >= P or y >= P or (y * y * MONTGOMERY - x * x * x - _THREE) % P != 0
    return wrong


def is_in_g2(point: bytes) -> bool:
    """Say whether raw bytes are a finite point of the twist, in the subgroup of order R, in their one encoding."""
    if len(point) != G2_BYTES:
        return False
    parts = [int.from_bytes(point[i : i + 32], "little") for i in range(0, G2_BYTES, 32)]
    if max(parts) >= P:
        return False
    a, b, c, d = (part * _MONTGOMERY_INVERSE % P for part in parts)
    x, y = (a, b), (c, d)
    cube = _mul(_mul(x, x), x)
    square = _mul(y, y)
    if square != ((cube[0] + _TWIST[0]) % P, (cube[1] + _TWIST[1]) % P):
        return False
    return _times_is_infinity(x, y, R)


def _mul(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def _sub(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def _scale(a: Fp2, factor: int) -> Fp2:
    return a[0] * factor % P, a[1] * factor % P


def _times_is_infinity(x: Fp2, y: Fp2, scalar: int) -> bool:
    """Say whether scalar * (x, y) is the point at infinity, in Jacobian coordinates (X / Z^2, Y / Z^3).

    Formulas dbl-2009-l and madd-2007-bl of the Explicit-Formulas Database, for a = 0. Adding a point to itself or to
    its negative, which they do not cover, is told apart.
    """
    px, py, pz = x, y, (1, 0)
    for bit in bin(scalar)[3:]:
        px, py, pz = _double(px, py, pz)
        if bit == "1":
            px, py, pz = _add(px, py, pz, x, y)
    return pz == (0, 0)


def _double(x: Fp2, y: Fp2, z: Fp2) -> tuple[Fp2, Fp2, Fp2]:
    a, b = _mul(x, x), _mul(y, y)
    c = _mul(b, b)
    xb = (x[0] + b[0], x[1] + b[1])
    d = _scale(_sub(_sub(_mul(xb, xb), a), c), 2)
    e = _scale(a, 3)
    x3 = _sub(_mul(e, e), _scale(d, 2))
    y3 = _sub(_mul(e, _sub(d, x3)), _scale(c, 8))
    return x3, y3, _scale(_mul(y, z), 2)


def _add(x1: Fp2, y1: Fp2, z1: Fp2, x2: Fp2, y2: Fp2) -> tuple[Fp2, Fp2, Fp2]:
    if z1 == (0, 0):
        return x2, y2, (1, 0)
    zz = _mul(z1, z1)
    h = _sub(_mul(x2, zz), x1)
    r = _scale(_sub(_mul(_mul(y2, z1), zz), y1), 2)
    if h == (0, 0):
        return _double(x1, y1, z1) if r == (0, 0) else (x1, y1, (0, 0))
    hh = _mul(h, h)
    i = _scale(hh, 4)
    j = _mul(h, i)
    v = _mul(x1, i)
    x3 = _sub(_sub(_mul(r, r), j), _scale(v, 2))
    y3 = _sub(_mul(r, _sub(v, x3)), _scale(_mul(y1, j), 2))
    zh = (z1[0] + h[0], z1[1] + h[1])
    return x3, y3, _sub(_sub(_mul(zh, zh), zz), hh)
