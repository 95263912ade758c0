"""A provider's server, its workers and its clients in processes of their own, and somebody who kills them."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import random
import secrets
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from balance_core.service.jobs import JobQueue, Workers
from balance_core.service.receipts import SignedReceipt

if TYPE_CHECKING:
    from tests.service.jobs.proving import Desk

CLIENTS = 16
PROVERS = 2
_SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_SECONDS = 600.0


def serve(name: str, port: int) -> None:
    """Be the provider's server; it answers and accepts, and leaves proving to others."""
    from balance_core.service.provider import Provider
    from balance_core.service.serving import Listening, Place

    limits = {"requests_per_second": 10_000.0, "burst": 10_000}
    service = {"provers": 0, "keep_inputs": False, "limits": limits}
    with Provider(name, backend="integer", service=service) as provider:
        Listening.of(provider, Place(port=port), None).run()


def prove() -> None:
    """Be a host of workers."""
    from tests.service.jobs.proving import Desk

    desk = Desk.again()
    with desk.queue() as queue, Workers(queue, desk.prover(), lease_seconds=3.0, poll_seconds=0.1):
        signal.pause()


class Mortal:
    """A process that is started again whenever it is killed."""

    def __init__(self, target, *arguments) -> None:
        self._target, self._arguments = target, arguments
        self.kills = 0
        self.start()

    def start(self) -> None:
        self._process = _SPAWN.Process(target=self._target, args=self._arguments)
        self._process.start()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        self.kills += 1
        self.start()

    def end(self) -> None:
        self._process.kill()
        self._process.join()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()


@dataclass
class Clients:
    """Sixteen threads that send requests, each until it has its receipt, whatever happens to the server."""

    desk: Desk
    port: int
    requests: int
    receipts: list[SignedReceipt] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def start(self) -> None:
        self._left = iter(range(self.requests))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.unexpected:
            with self._lock:
                number = next(self._left, None)
            if number is None:
                break
            receipt = self._receipt(connection, number)
            with self._lock:
                if receipt is None:
                    self.unexpected.append("no receipt in time")
                else:
                    self.receipts.append(receipt)
        connection.close()

    def _receipt(self, connection: http.client.HTTPConnection, number: int) -> SignedReceipt | None:
        nonce, ends = secrets.token_hex(32), time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < ends and not self.unexpected:
            try:
                receipt = self._ask(connection, number, nonce)
            except (OSError, http.client.HTTPException):
                connection.close()  # the server was killed: the same request again, under the same nonce
                time.sleep(0.1)
            else:
                if receipt is not None:
                    return receipt
        return None

    def _ask(self, connection: http.client.HTTPConnection, number: int, nonce: str) -> SignedReceipt | None:
        x = self.desk.inputs[number % len(self.desk.inputs)]
        tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
        body = {"inputs": [tensor], "parameters": {"balance_proof": "later", "balance_nonce": nonce}}
        name = self.desk.registered.registration.name
        connection.request("POST", f"/v2/models/{name}/infer", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        if response.status == 200:
            return SignedReceipt.from_json(json.loads(data)["parameters"]["balance_receipt"].encode())
        if response.status not in {429, 500, 503, 504}:
            self.unexpected.append(f"{response.status} {data[:200]!r}")
        time.sleep(min(float(response.headers.get("Retry-After", "0.2")), 5.0))
        return None


def soak(desk: Desk, requests: int, *, server_kills: int, worker_kills: int) -> list[SignedReceipt]:
    """Send that many requests and kill meanwhile, evenly over the whole; returns what the clients hold in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = desk.registered.registration.name
    with desk.queue() as queue:
        server, workers = Mortal(serve, name, port), [Mortal(prove) for _ in range(PROVERS)]
        clients = Clients(desk, port, requests)
        try:
            clients.start()
            _kill_meanwhile(clients, queue, server, workers, (server_kills, worker_kills))
        finally:
            for process in (server, *workers):
                process.end()
        assert clients.unexpected == []
        assert server.kills == server_kills
        assert sum(worker.kills for worker in workers) == worker_kills
    return clients.receipts


def _kill_meanwhile(
    clients: Clients, queue: JobQueue, server: Mortal, workers: list[Mortal], kills: tuple[int, int]
) -> None:
    """Kill at even steps of what is answered and of what is published, until all is."""
    quiet_since, before = time.monotonic(), None
    while True:
        counts = queue.counts()
        answered, published = len(clients.receipts), counts["published"]
        hosts = sum(worker.kills for worker in workers)
        if server.kills < kills[0] and answered * (kills[0] + 1) >= clients.requests * (server.kills + 1):
            server.kill()
        if hosts < kills[1] and published * (kills[1] + 1) >= clients.requests * (hosts + 1):
            random.choice(workers).kill()
        assert server.alive
        assert all(worker.alive for worker in workers)
        if clients.done and (clients.unexpected or counts["queued"] + counts["proving"] + counts["publishing"] == 0):
            return
        if (state := (answered, published)) != before:
            quiet_since, before = time.monotonic(), state
        assert time.monotonic() - quiet_since < _PATIENCE_SECONDS, f"nothing moves any more: {counts}"
        time.sleep(0.1)
