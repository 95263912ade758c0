from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from balance_core.errors import BlobNotFound, ConfigError
from balance_core.files import locked, read_limited, write_output, write_whole
from balance_core.workspace import Workspace


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "a" / "file"
    write_whole(target, b"one", mode=0o600)
    write_whole(target, b"two", mode=0o600)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert names(target.parent) == ["file"]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "file", b"data")
    assert names(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_swept_and_a_living_ones_is_kept(tmp_path):
    script = f"""
import os, signal, sys, pathlib
from balance_core import files
partial, handle = files._partial(pathlib.Path({str(tmp_path)!r}))
print("ready", flush=True)
sys.stdin.read()
"""
    writer = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"ready\n"
    write_whole(tmp_path / "mine", b"x")
    assert len(names(tmp_path)) == 2
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    write_whole(tmp_path / "mine", b"x")
    assert names(tmp_path) == ["mine"]


def test_output_that_cannot_be_written_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        write_output(tmp_path / "no" / "file", b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_output(tmp_path, b"")


def test_a_file_past_the_limit_is_not_read(tmp_path):
    (tmp_path / "f").write_bytes(b"1234")
    assert read_limited(tmp_path / "f", max_size=4, what="f") == b"1234"
    with pytest.raises(ConfigError, match="more than 3"):
        read_limited(tmp_path / "f", max_size=3, what="f")


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    with locked(tmp_path / "lock") as held, locked(tmp_path / "lock", wait=False) as second:
        assert (held, second) == (True, False)


def test_the_workspace_keeps_content_by_its_address(home):
    workspace = Workspace.default()
    address = workspace.publish_bytes(b"content")
    assert workspace.blob(address).read_bytes() == b"content"
    assert workspace.publish_bytes(b"content") == address
    with pytest.raises(BlobNotFound):
        workspace.blob("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
    with pytest.raises(ConfigError):
        workspace.blob("../../etc/passwd")
    assert workspace.root == home


def test_the_scratch_of_a_killed_process_is_swept_and_a_living_ones_is_kept(home):
    workspace = Workspace.default()
    script = """
import sys
from balance_core.workspace import Workspace
with Workspace.default().scratch() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    other = process.stdout.readline().strip()
    with workspace.scratch() as mine:
        assert Path(other).is_dir()
        assert mine.is_dir()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with workspace.scratch():
        assert not Path(other).is_dir()
    assert names(home / "scratch") == [".lock"]
