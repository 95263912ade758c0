"""`balance storage`: any store by the same commands, and content copied between two of them as often as it takes."""

from __future__ import annotations

import io
import os

import pytest

from balance_core import cid, mirroring, registry
from balance_core.builtin.storage import LocalStorage, LocalStorageSettings
from balance_core.cli import invoke
from balance_core.contracts import Diagnoses, Finding, Storage
from balance_core.errors import StorageUnreachable
from balance_core.mirroring import Outcome

LIMIT = 2**24


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))


@pytest.fixture
def stores(tmp_path):
    return tuple(LocalStorage(LocalStorageSettings(folder=tmp_path / name)) for name in ("first", "second"))


def put(store, data):
    return store.put(io.BytesIO(data))


def test_content_is_put_listed_got_and_let_go(tmp_path, capsys):
    (tmp_path / "file").write_bytes(bytes(300_000))
    address = cid.of_file(tmp_path / "file")
    assert invoke(["storage", "put", str(tmp_path / "file")]) == 0
    assert capsys.readouterr().out.strip() == address
    assert invoke(["storage", "ls"]) == 0
    assert capsys.readouterr().out.split() == [address]
    assert invoke(["storage", "get", address, "--out", str(tmp_path / "copy")]) == 0
    assert cid.of_file(tmp_path / "copy") == address
    assert invoke(["storage", "unpin", address]) == 0
    capsys.readouterr()
    assert invoke(["storage", "ls"]) == 0
    assert capsys.readouterr().out == ""
    assert invoke(["storage", "pin", address]) == 0
    assert invoke(["storage", "doctor"]) == 0
    assert "ready" in capsys.readouterr().out


def test_content_goes_to_standard_output_by_default(tmp_path, capfdbinary):
    (tmp_path / "file").write_bytes(b"to be shown")
    invoke(["storage", "put", str(tmp_path / "file")])
    capfdbinary.readouterr()
    assert invoke(["storage", "get", cid.of_bytes(b"to be shown")]) == 0
    assert capfdbinary.readouterr().out == b"to be shown"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["put", "nowhere"], 2, "cannot be read"),
        (["get", "nonsense"], 2, "not a content address"),
        (["get", cid.of_bytes(b"absent")], 6, "does not hold"),
        (["pin", cid.of_bytes(b"absent")], 6, "does not hold"),
        (["ls", "--storage", "nowhere"], 3, "no plugin"),
        (["ls", "-o", "chain.key=x"], 2, "prefix 'chain'"),
        (["ls", "-o", "colour=red"], 2, "no setting 'colour'"),
        (["mirror", "--from", "local", "--to", "local", "-o", "folder=x"], 2, "one of the two stores"),
        (["get", cid.of_bytes(b"absent"), "--max-size", "much"], 2, "not an amount"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_what_to_do(arguments, code, said, capsys):
    assert invoke(["storage", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "hint: " in error
    assert len(error.splitlines()) == 2


def test_damaged_content_leaves_no_file(tmp_path, capsys):
    (tmp_path / "file").write_bytes(bytes(1000))
    invoke(["storage", "put", str(tmp_path / "file"), "-o", f"folder={tmp_path / 'store'}"])
    address = cid.of_bytes(bytes(1000))
    (blob,) = (tmp_path / "store" / "blobs").glob("*/*")
    os.chmod(blob, 0o600)  # noqa: PTH101 - what the store itself forbids
    blob.write_bytes(bytes(999) + b"x")
    out = tmp_path / "out"
    assert invoke(["storage", "get", address, "--out", str(out), "-o", f"folder={tmp_path / 'store'}"]) == 6
    assert not out.exists()
    assert "other bytes" in capsys.readouterr().err


def test_a_second_mirroring_copies_only_what_is_missing(stores, tmp_path, capsys):
    first, second = stores
    addresses = {put(first, bytes([number]) * 300_000) for number in range(3)}
    put(second, bytes([0]) * 300_000)
    folders = ["-o", f"from.folder={tmp_path / 'first'}", "-o", f"to.folder={tmp_path / 'second'}"]
    for said in ("2 copied, 1 there already, 0 failed", "0 copied, 3 there already, 0 failed"):
        assert invoke(["storage", "mirror", "--from", "local", "--to", "local", *folders]) == 0
        assert said in capsys.readouterr().out
    assert set(second.pinned()) == addresses


def test_named_content_alone_is_mirrored(stores):
    first, second = stores
    wanted, _ = put(first, b"wanted"), put(first, b"other")
    assert [step.outcome for step in mirroring.mirror(first, second, [wanted], max_size=LIMIT)] == [Outcome.COPIED]
    assert second.pinned() == (wanted,)


def test_one_failure_does_not_stop_the_others_and_is_told(stores, tmp_path, capsys):
    first, second = stores
    good, bad = put(first, b"good"), put(first, b"bad")
    (first.folder / "blobs" / bad[-2:] / bad).unlink()
    addresses = [bad, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH", good]
    steps = list(mirroring.mirror(first, second, addresses, max_size=LIMIT))
    assert [step.outcome for step in steps] == [Outcome.FAILED, Outcome.FAILED, Outcome.COPIED]
    assert all(step.why for step in steps[:2])
    folders = ["-o", f"from.folder={tmp_path / 'first'}", "-o", f"to.folder={tmp_path / 'second'}"]
    assert invoke(["storage", "mirror", "--from", "local", "--to", "local", *folders]) == 6
    assert "1 could not be copied" in capsys.readouterr().err


class Relabelling(LocalStorage):
    """A store that gives content other addresses than those it has everywhere."""

    api_version = 1

    def put(self, source):
        source.read()
        return super().put(io.BytesIO(b"something else"))


def test_content_that_gets_another_address_is_not_left_pinned(stores, tmp_path):
    first, _ = stores
    address = put(first, b"content")
    second = Relabelling(LocalStorageSettings(folder=tmp_path / "third"))
    (step,) = mirroring.mirror(first, second, [address], max_size=LIMIT)
    assert step.outcome is Outcome.FAILED
    assert second.pinned() == ()


class Away(LocalStorage):
    """A store that does not answer."""

    api_version = 1

    def has(self, cid):
        raise StorageUnreachable(f"nobody is there to look for {cid}")


def test_a_store_that_is_away_ends_the_mirroring_at_once(stores):
    first, _ = stores
    addresses = [put(first, b"one"), put(first, b"two")]
    with pytest.raises(StorageUnreachable):
        list(mirroring.mirror(first, Away(), addresses, max_size=LIMIT))


class Silent(Storage, Diagnoses):
    """A store that lists nothing, and is not well."""

    api_version = 1

    put = open = has = pin = unpin = staticmethod(lambda *_: None)

    def diagnose(self):
        yield Finding("disk", "there is one")
        yield Finding("lamp", "it is out", hint="change the bulb")


def test_what_a_store_cannot_do_is_said(monkeypatch, capsys):
    monkeypatch.setattr(registry, "create", lambda *_: Silent())
    assert invoke(["storage", "ls"]) == 2
    assert "cannot say what it keeps" in capsys.readouterr().err
    assert invoke(["storage", "doctor"]) == 6
    shown = capsys.readouterr()
    assert "there is one" in shown.out
    assert "wrong: it is out" in shown.out
    assert "hint: change the bulb" in shown.err
