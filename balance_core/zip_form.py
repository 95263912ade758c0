"""One strict form of ZIP: any tool opens what is written here, and only what is written here is read.

Members are stored without compression, in the order given, with fixed times and rights, names of plain ASCII, no
extra fields, comments, ZIP64 or encryption. The reader takes the members out of the local headers, writes the archive
again and compares: a hidden member, a second directory, data between or behind members, or a header that says one
thing and the directory another, cannot be equal.

Source: APPNOTE.TXT 6.3 of PKWARE (local header 4.3.7, central directory 4.3.12, its end 4.3.16).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING
from zlib import crc32

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

_NEEDED = 20
"""Version 2.0, the least that knows folders."""
_MADE_BY = 3 << 8 | _NEEDED
"""On Unix, whose rights stand in the upper half of the external attributes."""
_RIGHTS = 0o100644 << 16
_DATE = 1 << 5 | 1
"""1 January 1980, the first day that the format has; the time is 0."""
_MAX_OFFSET = 2**32 - 2
"""Beyond lies ZIP64."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def check_name(name: str, *, folders: bool = True) -> str:
    """Return a member's name of one or (with `folders`) two plain parts; raises ConfigError for any other."""
    parts = name.split("/") if folders else [name]
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise ConfigError(f"{name[:100]!r} is no name for a member of a bundle")
    return name


def encode(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the archive of these members; raises ConfigError for one of 4 GiB and more."""
    return b"".join(_pieces(members))


def _pieces(members: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the archive piece by piece, the members' contents uncopied."""
    directory = []
    offset = 0
    for name, data in members:
        encoded = check_name(name).encode("ascii")
        if offset + len(data) > _MAX_OFFSET - 2**16:
            raise ConfigError(f"a bundle cannot be larger than 4 GiB, and {name} makes it so")
        common = (0, 0, 0, _DATE, crc32(data), len(data), len(data), len(encoded), 0)
        directory += [_CENTRAL.pack(_CENTRAL_MAGIC, _MADE_BY, _NEEDED, *common, 0, 0, 0, _RIGHTS, offset), encoded]
        yield _LOCAL.pack(_LOCAL_MAGIC, _NEEDED, *common)
        yield encoded
        yield data
        offset += _LOCAL.size + len(encoded) + len(data)
    yield from directory
    yield _END.pack(_END_MAGIC, 0, 0, len(members), len(members), sum(map(len, directory)), offset, 0)


def _is(data: bytes, pieces: Iterable[bytes]) -> bool:
    """Say whether the pieces make up the data, without putting them together."""
    view, offset = memoryview(data), 0
    for piece in pieces:
        if view[offset : offset + len(piece)] != piece:
            return False
        offset += len(piece)
    return offset == len(data)


def decode(data: bytes, *, max_members: int) -> dict[str, bytes]:
    """Return the members of an archive in this form, in order; raises ConfigError for any other bytes."""
    members: dict[str, bytes] = {}
    offset = 0
    while data[offset : offset + 4] == _LOCAL_MAGIC:
        if len(members) == max_members:
            raise ConfigError(f"the bundle has more than {max_members} members")
        name, content, offset = _member(data, offset)
        if name in members:
            raise ConfigError(f"the bundle holds {name} twice")
        members[name] = content
    if not members:
        raise ConfigError("this is not a bundle", hint="a bundle is the file that `balance bundle` writes")
    if not _is(data, _pieces(list(members.items()))):
        raise ConfigError(
            "the bundle is not in its one form: its directory is damaged, or something was added",
            hint="ask for the file as it was written; an archive that was packed again is refused",
        )
    return members


def _member(data: bytes, offset: int) -> tuple[str, bytes, int]:
    """Read the member at an offset and return its name, content and end."""
    start = offset + _LOCAL.size
    if start > len(data):
        raise ConfigError("the bundle ends inside a header: it was cut off")
    _, _, flags, method, _, _, crc, stored, size, name_size, extra = _LOCAL.unpack_from(data, offset)
    try:
        name = check_name(data[start : start + name_size].decode("ascii"))
    except UnicodeDecodeError:
        raise ConfigError("the bundle holds a member whose name is not plain ASCII") from None
    if flags or method or extra or stored != size:
        raise ConfigError(f"the bundle's member {name} is compressed, encrypted or has extra fields", hint=_REPACKED)
    start += name_size
    if start + size > len(data):
        raise ConfigError(f"the bundle ends inside {name}: it was cut off")
    content = data[start : start + size]
    if crc32(content) != crc:
        raise ConfigError(f"the bundle's member {name} is damaged: its checksum is wrong")
    return name, content, start + size


_REPACKED = "bundles hold members as they are; an archive that was packed again is refused"
