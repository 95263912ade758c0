"""Keys lie in files that nobody else can read, from their first moment on."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from balance_core import files
from balance_core.errors import BalanceError, ConfigError
from balance_core.keys import KeyStore


@pytest.fixture
def store(tmp_path):
    return KeyStore(tmp_path / "keys")


def test_a_key_is_the_same_when_it_is_loaded_again(store):
    made = store.create("mine")
    assert store.load("mine").public == store.public("mine") == made.public
    assert KeyStore(store.folder).names() == ("mine",)
    assert store.default().public == store.default().public != made.public
    assert store.names() == ("default", "mine")


def test_a_key_is_never_replaced(store):
    public = store.create("mine").public
    with pytest.raises(ConfigError, match="already"):
        store.create("mine")
    assert store.public("mine") == public


def test_files_and_folder_are_the_owners_alone_whatever_the_umask(store):
    before = os.umask(0)
    try:
        store.create("mine")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "mine.key").stat().st_mode) == 0o600


def test_no_moment_shows_the_key_to_others(store, monkeypatch):
    modes = []
    fdopen = os.fdopen

    def watched(handle, *rest):
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return fdopen(handle, *rest)

    before = os.umask(0)
    try:
        monkeypatch.setattr(files.os, "fdopen", watched)
        store.create("mine")
    finally:
        os.umask(before)
    assert modes == [0o600]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused_with_the_mend(store, mode):
    store.create("mine")
    path = store.folder / "mine.key"
    path.chmod(mode)
    with pytest.raises(ConfigError, match="other users") as caught:
        store.load("mine")
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    store.load("mine")


def test_a_folder_in_which_others_can_swap_keys_is_refused(store):
    store.create("mine")
    store.folder.chmod(0o770)
    for call in (lambda: store.load("mine"), lambda: store.create("other")):
        with pytest.raises(ConfigError, match="other users") as caught:
            call()
        assert caught.value.hint == f"chmod 700 {store.folder}"


def test_a_missing_key_says_what_there_is(store):
    with pytest.raises(ConfigError, match="no key 'mine'") as caught:
        store.load("mine")
    assert caught.value.hint == "balance keys new mine"
    store.create("other")
    with pytest.raises(ConfigError) as caught:
        store.load("mine")
    assert caught.value.hint == "known keys: other"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "-x", "x" * 65, "x\n", "é"])
def test_names_are_safe_in_paths(store, name):
    for call in (store.create, store.load):
        with pytest.raises(ConfigError):
            call(name)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 100, b"x" * 100_000])
def test_a_damaged_file_is_refused_and_its_content_not_shown(store, content):
    store.create("mine")
    (store.folder / "mine.key").write_bytes(content)
    with pytest.raises(ConfigError, match="'mine' is damaged") as caught:
        store.load("mine")
    assert "xxxx" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_refused(store):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    store.create("mine")
    other = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (store.folder / "mine.key").write_bytes(other)
    with pytest.raises(ConfigError, match="not an Ed25519"):
        store.load("mine")


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_refused_without_waiting(store, kind):
    store.create("other")
    path = store.folder / "mine.key"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(ConfigError):
        store.load("mine")


def test_a_place_where_no_folder_can_be_is_a_clean_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        KeyStore(tmp_path / "file" / "keys").default()


def test_what_a_killed_process_left_is_removed(store):
    store.create("mine")
    (store.folder / ".partial-old").touch()
    store.create("other")
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "mine.key", "other.key"]


def test_processes_that_need_the_default_key_at_once_get_the_same_one(store):
    code = f"""
import sys
from pathlib import Path
from balance_core.keys import KeyStore
print("ready", flush=True)
sys.stdin.readline()
print(KeyStore(Path({str(store.folder)!r})).default().public)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert {process.communicate(timeout=30)[0].strip() for process in processes} == {store.public("default")}


def test_no_error_of_the_store_is_raw(store):
    store.create("mine")
    (store.folder / "mine.key").unlink()
    (store.folder / "mine.key").symlink_to(store.folder / "mine.key")
    with pytest.raises(BalanceError):
        store.load("mine")
