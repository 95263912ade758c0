"""API keys: what is kept opens nothing, and what was revoked opens nothing any more."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core.errors import ConfigError
from balance_core.service.auth import KeyRing, Scope


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


def test_a_key_is_known_again_and_its_file_does_not_hold_it(ring):
    text, key = ring.create("alice", (Scope.INFER, Scope.PROVE))
    assert ring.check(text) == key
    assert KeyRing(ring.path).check(text) == key
    assert key.scopes == (Scope.INFER, Scope.PROVE)
    assert text.rpartition("_")[2] not in ring.path.read_text()
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600


def test_a_revoked_key_is_refused_at_once_by_a_service_that_runs(ring):
    text, key = ring.create("alice", (Scope.INFER,))
    running = KeyRing(ring.path)
    assert running.check(text)
    ring.revoke(key.key_id)
    assert running.check(text) is None
    with pytest.raises(ConfigError, match="no API key"):
        ring.revoke("0" * 16)


def test_an_ended_key_is_refused(ring):
    text, _ = ring.create("alice", (Scope.INFER,), days=-0.001)
    assert ring.check(text) is None


@given(at=st.integers(0, 67), letter=st.sampled_from("0aA_-Zz9 \n"))
def test_a_key_with_one_letter_changed_is_none(tmp_path_factory, at, letter):
    ring = KeyRing(tmp_path_factory.mktemp("ring") / "keys.json")
    text, _ = ring.create("alice", (Scope.INFER,))
    changed = text[:at] + letter + text[at + 1 :]
    assert (ring.check(changed) is not None) == (changed == text)
    assert ring.check(text + letter) is None


@pytest.mark.parametrize("text", ["", "balance__", "balance_" + "0" * 16 + "_", "\x00" * 100, "é" * 68])
def test_what_is_no_key_is_none(ring, text):
    ring.create("alice", (Scope.INFER,))
    assert ring.check(text) is None


def test_a_file_that_others_can_read_is_refused(ring):
    text, _ = ring.create("alice", (Scope.INFER,))
    ring.path.chmod(0o644)
    with pytest.raises(ConfigError, match="read by other users"):
        KeyRing(ring.path).check(text)


def test_a_wrong_name_is_refused(ring):
    with pytest.raises(ConfigError, match="name"):
        ring.create("\n", (Scope.INFER,))
    assert ring.keys() == ()
