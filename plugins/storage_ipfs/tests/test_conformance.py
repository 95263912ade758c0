"""The kit's promises, tried against a node built on the libraries of the reference node."""

from __future__ import annotations

import contextlib

import pytest

from balance_core.testing import StorageConformance

from . import peer


class TestIpfs(StorageConformance):
    storage = "ipfs"
    settings = {"timeout": 5.0, "retries": 0}

    @pytest.fixture(autouse=True)
    @classmethod
    def nodes(cls, program):
        """A node for each place that a case opens a store on, as long as the case lasts."""
        del program
        cls.running = {}
        with contextlib.ExitStack() as held:
            cls.held = held
            yield

    @classmethod
    def place_settings(cls, place):
        if place not in cls.running:
            cls.running[place] = cls.held.enter_context(peer.serving(place))
        return {"rpc_url": cls.running[place].rpc}
