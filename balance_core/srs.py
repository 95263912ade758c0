"""Structured reference strings of KZG over BN254: their format, their trust, and the store that keeps them.

A file holds, one after the other: k (4 bytes, little endian), 2^k points of G1 (the powers g, sg, s^2g ...), 2^k
points of G1 (the same in the Lagrange basis), g2 and s_g2. Coordinates are 32 bytes little endian in Montgomery form
(x stands as x * 2^256 mod p); a point of G2 is x.c0, x.c1, y.c0, y.c1. docs/srs.md says what a wrong part can do to
whom.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from balance_core import bn254, canonical
from balance_core.errors import ConfigError
from balance_core.files import locked, sync_folder
from balance_core.records import SetupTrust, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CURVE = "bn254"
"""The one curve that is known; also written bn256 or alt_bn128 elsewhere."""
MAX_K = 28
"""The largest ceremony there is over this curve; BN254 itself ends there (2^28 divides its group order less one)."""
CUT_BYTES = 4 + 2 * bn254.G1_BYTES + 2 * bn254.G2_BYTES
"""Size of what a verifier needs: a string of a single power."""

CEREMONIES = {
    "03d2b8415c55d6249d87330f8bc869e24d202ed8c957e468cb41adefcc1cc0ba": "perpetual-powers-of-tau-hermez",
}
"""Digests of pinned parameters, each with the ceremony's name; docs/srs.md tells where they were taken from."""

_PIECE_BYTES = 2**20
_NAME = re.compile(
    r"(?P<curve>[a-z0-9]+)-(?P<k>[0-9]{2})-(?P<parameters>[0-9a-f]{64})-(?P<content>[0-9a-f]{64})\.srs"
)


@dataclass(frozen=True)
class Parameters:
    """What a verifier relies on: the generators g and g2, and s_g2, whose secret s nobody may know; raw bytes."""

    g: bytes
    g2: bytes
    s_g2: bytes

    @classmethod
    def of_cut(cls, data: bytes) -> Self:
        """Read the verifier's cut; raises ConfigError unless it is exactly what `cut` writes for sound points."""
        if len(data) != CUT_BYTES:
            raise ConfigError(f"the cut reference string has {len(data)} bytes, not {CUT_BYTES}")
        g, lagrange = data[4 : 4 + bn254.G1_BYTES], data[4 + bn254.G1_BYTES : 4 + 2 * bn254.G1_BYTES]
        if data[:4] != bytes(4) or g != lagrange:
            raise ConfigError("the cut reference string is not one of a single power")
        parameters = cls(g, data[-2 * bn254.G2_BYTES : -bn254.G2_BYTES], data[-bn254.G2_BYTES :])
        parameters.check()
        return parameters

    def check(self) -> None:
        """Raise ConfigError unless g and g2 are the curve's generators and s_g2 is a point of their group."""
        if self.g != bn254.G1_GENERATOR or self.g2 != bn254.G2_GENERATOR:
            raise ConfigError("the reference string does not start at the generators of bn254")
        if not bn254.is_in_g2(self.s_g2):
            raise ConfigError("the reference string's s_g2 is not a point of bn254's second group")

    @property
    def cut(self) -> bytes:
        """The string of a single power, which is all that a verifier needs."""
        return bytes(4) + self.g + self.g + self.g2 + self.s_g2

    @property
    def digest(self) -> str:
        """The digest that names these parameters, whatever the number of powers."""
        return canonical.digest("kzg-parameters/1", CURVE.encode(), self.g, self.g2, self.s_g2)

    @property
    def setup_trust(self) -> SetupTrust:
        """`ceremony` for pinned points, and insecure-test for all others, whatever a file or a person calls them."""
        trust = Trust.CEREMONY if self.digest in CEREMONIES else Trust.INSECURE_TEST
        return SetupTrust(trust=trust, parameters=self.digest)


@dataclass(frozen=True)
class Srs:
    """A reference string in the store."""

    path: Path
    curve: str
    k: int
    parameters: str
    """Digest of the points that a verifier relies on."""
    content: str
    """SHA-256 of the file."""
    setup_trust: SetupTrust
    size: int


def is_powers_of_tau(path: Path) -> bool:
    """Whether a file begins as the `.ptau` files of ceremonies do; raises ConfigError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"ptau"
    except OSError as error:
        raise ConfigError(f"reference string {str(path)!r} cannot be read: {error.strerror}") from error


def file_size(k: int) -> int:
    """Return the size of a file of 2^k powers, in bytes."""
    return 4 + (2 * bn254.G1_BYTES << k) + 2 * bn254.G2_BYTES


def cut(path: Path) -> bytes:
    """Return the 388 bytes of a file that a verifier needs; raises ConfigError for a file that is none of these."""
    return _parameters(path)[1].cut


def _parameters(path: Path) -> tuple[int, Parameters]:
    """Read k and the points that a verifier relies on; the file's length must be exactly that of its k."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            k = int.from_bytes(stream.read(4), "little")
            if k > MAX_K or size != file_size(k):
                raise ConfigError(
                    f"{str(path)!r} is not a raw reference string: its {size} bytes do not fit its header",
                    hint="docs/srs.md describes the format",
                )
            g = stream.read(bn254.G1_BYTES)
            stream.seek(-2 * bn254.G2_BYTES, os.SEEK_END)
            parameters = Parameters(g, stream.read(bn254.G2_BYTES), stream.read(bn254.G2_BYTES))
    except OSError as error:
        raise ConfigError(f"reference string {str(path)!r} cannot be read: {error.strerror}") from error
    parameters.check()
    return k, parameters


class SrsStore:
    """A folder of reference strings, each under its curve, k and digests; any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Srs]:
        """Return what the store holds, most trusted first, then by k; trust is told from the points in each file."""
        found = [self._describe(path) for path in sorted(self.folder.glob("*.srs"))]
        order = [Trust.CEREMONY, Trust.TRANSPARENT, Trust.INSECURE_TEST]
        return sorted(
            (srs for srs in found if srs is not None),
            key=lambda srs: (order.index(srs.setup_trust.trust), srs.k, srs.parameters, srs.content),
        )

    def find(self, curve: str, k: int, parameters: str | None = None) -> Srs | None:
        """Return the most trusted string of 2^k powers, checked against its digest, or None.

        A longer one serves as well (provers cut it down), and is taken where it comes from a ceremony or has the
        parameters asked for; a test string is made in less time than a long one takes to read.
        """
        fitting = [
            srs
            for srs in self.all()
            if srs.curve == curve
            and parameters in {None, srs.parameters}
            and (srs.k == k or (srs.k > k and (parameters is not None or not srs.setup_trust.is_test_only)))
        ]
        return next((srs for srs in fitting if _content(srs.path) == srs.content), None)

    def add(self, path: Path) -> Srs:
        """Check a file of the raw format and copy it into the store; raises ConfigError that says what is wrong."""
        return self._add(lambda target: _copy(path, target))

    def receive(self, write: Callable[[Path], None]) -> Srs:
        """Let `write` write a string from elsewhere in the raw format, check it as `add` does, and keep it."""
        return self._add(write)

    def make(self, curve: str, k: int, make: Callable[[Path], None]) -> Srs:
        """Let `make` write a new test string and add it, unless another process has just added one of this k."""
        with locked(self.folder / f".{curve}-{k:02d}.lock"):
            found = self.find(curve, k)
            if found is not None:
                return found
            srs = self._add(make)
            if srs.k != k:
                srs.path.unlink()
                raise ConfigError(f"asked for 2^{k} powers, the backend made 2^{srs.k}")
            return srs

    def remove(self, srs: Srs) -> None:
        """Forget a string; circuits that were set up with it can still be verified, and no longer be proven."""
        srs.path.unlink(missing_ok=True)

    def _add(self, write: Callable[[Path], None]) -> Srs:
        with self._scratch() as folder:
            source = folder / "string"
            write(source)
            k, parameters = _parameters(source)
            _check_points(source)
            name = f"{CURVE}-{k:02d}-{parameters.digest}-{_content(source)}.srs"
            with source.open("rb+") as stream:
                os.fsync(stream.fileno())
            source.chmod(0o444)
            source.replace(self.folder / name)
            sync_folder(self.folder)
        srs = self._describe(self.folder / name)
        if srs is None:
            raise ConfigError(f"{name} vanished from the store while it was added")
        return srs

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Lend a folder on the store's own file system, and remove those that killed processes left there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with locked(self.folder / ".lock"):
                for left in self.folder.glob(".partial-*"):
                    with locked(left / "lock", wait=False) as free:
                        if free:
                            shutil.rmtree(left, ignore_errors=True)
                folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
                held.enter_context(locked(folder / "lock"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _describe(self, path: Path) -> Srs | None:
        """Tell what a file of the store is, or None where name and points do not agree."""
        named = _NAME.fullmatch(path.name)
        if named is None:
            return None
        try:
            k, parameters = _parameters(path)
        except ConfigError:
            return None
        if (CURVE, f"{k:02d}", parameters.digest) != (named["curve"], named["k"], named["parameters"]):
            return None
        return Srs(
            path=path,
            curve=CURVE,
            k=k,
            parameters=parameters.digest,
            content=named["content"],
            setup_trust=parameters.setup_trust,
            size=file_size(k),
        )


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_points(path: Path) -> None:
    """Raise ConfigError unless all of the file's G1 points are on the curve."""
    with path.open("rb") as stream:
        k = int.from_bytes(stream.read(4), "little")
        left = 2 * bn254.G1_BYTES << k
        while left:
            points = stream.read(min(left, _PIECE_BYTES))
            wrong = bn254.count_off_curve(points)
            if wrong:
                raise ConfigError(
                    f"{wrong} points of {str(path)!r} are not on the curve", hint="fetch the file again"
                )
            left -= len(points)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ConfigError(f"reference string {str(source)!r} cannot be read: {error.strerror}") from error
