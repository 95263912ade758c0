"""A provider of a tiny model that really listens, for tests that talk to it."""

from __future__ import annotations

import contextlib
import time

import httpx
import numpy as np
import pytest

from balance_core.service.auth import KeyRing, Scope
from balance_core.service.provider import Provider
from balance_core.service.serving import Place, listening
from balance_core.testing import models

SAMPLES = np.random.default_rng(0).standard_normal((16, 1, 4)).astype(np.float32)
X = SAMPLES[0]
NAME = "tiny"


def provider(**service):
    """A provider that was not started; it registers on the ledger of its own data folder."""
    return Provider(models.mlp(seed=1), samples=SAMPLES[:, 0], backend="integer", name=NAME, service=service)


def until(holds, seconds=60.0):
    """Wait until a condition holds; fails where it does not in time."""
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, "it did not come to that in time"
        time.sleep(0.02)
    return found


def settled(provider, job_id):
    """Wait for a job's end and return it."""
    until(lambda: provider.queue.job(job_id).state.final)
    return provider.queue.job(job_id)


@contextlib.contextmanager
def home(path):
    """Use another data folder meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALANCE_HOME", str(path))
        yield path


@contextlib.contextmanager
def serving(path, *, keyed=False, place=None, **service):
    """Serve, with an API key of all scopes where `keyed`; gives the provider, its URL, the ring and a client."""
    with home(path), provider(**service) as served:
        ring = KeyRing(path / "api-keys.json") if keyed else None
        headers = {}
        if ring:
            headers["Authorization"] = f"Bearer {ring.create('all', tuple(Scope))[0]}"
        with (
            listening(served, place or Place(), keys=ring) as url,
            httpx.Client(base_url=url, headers=headers, verify=False, timeout=30) as client,  # noqa: S501 - the certificate is this test's own
        ):
            yield Served(served, url, ring, client)


class Served:
    """What a test needs of a service that runs."""

    def __init__(self, provider, url, keys, client):
        self.provider, self.url, self.keys, self.client = provider, url, keys, client

    def infer(self, x=X, **parameters):
        """Ask in JSON; returns the response."""
        tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
        named = {f"balance_{name}": value for name, value in parameters.items()}
        return self.client.post(f"/v2/models/{NAME}/infer", json={"inputs": [tensor], "parameters": named})

    def finished(self, job_id):
        """Wait for a job's end and return it."""
        return settled(self.provider, job_id)
