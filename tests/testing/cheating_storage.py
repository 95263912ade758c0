"""Stores that cheat, each in one way, and the exact set of cases of the kit that must find them out."""

from __future__ import annotations

import io
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any

from honest_storage import HonestStorage

from balance_core import cid as cids
from balance_core.errors import BlobNotFound

CHEATS: list[tuple[type[HonestStorage], frozenset[str]]] = []


def caught_by(*cases: str) -> Any:
    def enter(cheat: type[HonestStorage]) -> type[HonestStorage]:
        CHEATS.append((cheat, frozenset(cases)))
        return cheat

    return enter


@caught_by("cut_content_is_never_returned", "damaged_content_is_never_returned")
class ReturnsOtherBytes(HonestStorage):
    """What the disk gives is handed on."""

    def compare(self, address, data):
        pass


@caught_by("max_size_is_kept")
class IgnoresMaxSize(HonestStorage):
    """All of the content is read, whatever was allowed."""

    def read(self, path, _):
        return path.read_bytes()


@caught_by("many_put_at_once", "stores_keep_content_after_a_restart")
class ForgetsAfterRestart(HonestStorage):
    """Content is kept under a name that only this instance knows."""

    @property
    def folder(self):
        folder = super().folder / self.__dict__.setdefault("own", uuid.uuid4().hex)
        folder.mkdir(exist_ok=True)
        return folder


@caught_by("content_comes_back", "many_put_at_once", "slow_source_is_stored")
class NamesAsItLikes(HonestStorage):
    """Content of more than one chunk gets the address of its hash."""

    def address(self, data):
        return cids.of_bytes(data if len(data) <= cids.CHUNK_BYTES else sha256(data).digest())

    def compare(self, address, data):
        if self.address(data) != address:
            super().compare(address, data)


@caught_by("broken_source_leaves_nothing")
class KeepsPartOfContent(HonestStorage):
    """What has come before a source breaks off is kept."""

    def put(self, source):
        came = bytearray()
        try:
            for chunk in cids.chunks_of(source):
                came += chunk
        finally:
            address = super().put(io.BytesIO(came))
        return address


@caught_by("what_is_no_address_is_refused")
class TakesNamesForPaths(HonestStorage):
    """Whatever is asked for is looked up in the file system."""

    def checked(self, address):
        return address


@caught_by("absent_content_is_not_found")
class ClaimsToHaveAll(HonestStorage):
    """`has` says yes, in the hope that it can be fetched."""

    def has(self, cid):
        cids.check(cid)
        return True


@caught_by("absent_content_is_not_found", "broken_source_leaves_nothing")
class CrashesOnAbsence(HonestStorage):
    """That content is not there comes out as the system's error."""

    def path(self, address):
        return self.folder / self.checked(address)


@caught_by("pins_may_be_set_and_lifted")
class UnpinsAll(HonestStorage):
    """Unpinning one blob lets the others go as well."""

    def unpin(self, cid):
        self.path(cid)
        for path in self.folder.iterdir():
            path.unlink()


@caught_by("putting_again_pins_again")
class RemembersLettingGo(HonestStorage):
    """What was let go once is never taken back."""

    def unpin(self, cid):
        self.path(cid)
        self.__dict__.setdefault("gone", set()).add(cid)

    def has(self, cid):
        return super().has(cid) and cid not in self.__dict__.get("gone", ())

    def path(self, address):
        if address in self.__dict__.get("gone", ()):
            raise BlobNotFound(address)
        return super().path(address)


@caught_by("it_keeps_to_its_place")
class KeepsCopyAtHome(HonestStorage):
    """A copy of everything goes home."""

    def write(self, path, data):
        super().write(path, data)
        (Path.home() / f".copy-{uuid.uuid4().hex}").write_bytes(data[:1])


class Shared(io.BytesIO):
    def close(self):
        pass


@caught_by("readers_do_not_disturb_each_other")
class SharesOneStream(HonestStorage):
    """All streams of an instance are one."""

    def open(self, cid, *, max_size):
        data = super().open(cid, max_size=max_size).read()
        shared = self.__dict__.setdefault("shared", Shared())
        shared.seek(0)
        shared.truncate()
        shared.write(data)
        shared.seek(0)
        return shared


@caught_by("broken_source_leaves_nothing", "slow_source_is_stored")
class ReadsOnce(HonestStorage):
    """One read is taken for all of a source."""

    def put(self, source):
        return super().put(io.BytesIO(source.read(2**30)))
