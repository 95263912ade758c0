"""What the tests of this plugin share."""

from __future__ import annotations

import os
from hashlib import shake_128

import pytest
from balance_ipfs.settings import IpfsSettings
from balance_ipfs.storage import IpfsStorage

from . import peer

# The tests against a daemon that others wrote: `make test-ipfs` installs it and says where it is.
collect_ignore = [] if os.environ.get("BALANCE_IPFS_DAEMON") else ["test_daemon.py"]


@pytest.fixture(scope="session")
def program():
    return peer.program()


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A file of 60 MB."""
    path = tmp_path_factory.mktemp("large") / "large"
    path.write_bytes(shake_128(b"large").digest(60_000_000))
    return path


@pytest.fixture
def running(tmp_path, program):
    """A node and a gateway on an empty folder."""
    del program
    place = tmp_path / "node"
    place.mkdir()
    with peer.serving(place) as found:
        yield found


@pytest.fixture
def make():
    """Make stores that give up soon."""

    def make(*gateways: str, rpc: str | None = None, **settings: object) -> IpfsStorage:
        values = {"rpc_url": rpc, "gateways": gateways, "timeout": 1.0, "pin_timeout": 1.0, "retries": 0, **settings}
        return IpfsStorage(IpfsSettings(**values))

    return make
