"""What a receipt costs: `balance serve` beside a bare server that answers without one, on the same model.

The bare server is FastAPI and uvicorn as well; it runs the float model in onnxruntime and writes one row to SQLite,
on the disk before it answers (WAL, synchronous=FULL). The provider quantises, runs the integer model, signs a
receipt and keeps it, and, by default, keeps the input, encrypted. One client asks both in turns, since machines
drift; then 16 clients ask each. Bar: the provider's median at most twice the bare server's.

    python benchmarks/service.py [--requests 400] [--backend integer] [--binary]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from balance_core.service import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTOR = 2.0
CLIENTS = 16
EXAMPLE = Path(__file__).resolve().parents[1] / "balance_core" / "examples" / "mnist"

BARE = """
import sqlite3, sys
from contextlib import closing
import threading
import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model, database, port = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options)
connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
connection.execute("pragma journal_mode=wal")
connection.execute("pragma synchronous=full")
connection.execute("create table answers (id integer primary key, body text)")
lock = threading.Lock()

class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]

class Request(BaseModel):
    inputs: list[Tensor]

app = FastAPI()

@app.post("/infer")
def infer(request: Request):
    tensor = request.inputs[0]
    array = np.array(tensor.data, np.float32).reshape(tensor.shape)
    found = session.run(None, {tensor.name: array})[0]
    values = found.ravel().tolist()
    with lock:
        connection.execute("insert into answers (body) values (?)", (repr(values),))
    return {"outputs": [{"name": "output", "shape": list(found.shape), "datatype": "FP32", "data": values}]}

uvicorn.run(app, port=int(port), log_level="warning", access_log=False, http="h11", loop="asyncio")
"""


@dataclass(frozen=True)
class Server:
    """One of the two, as a client sees it."""

    name: str
    port: int
    path: str
    process: psutil.Process
    body: bytes
    headers: dict[str, str]

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that stays open."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        link.connect()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def ask(self, link: http.client.HTTPConnection) -> float:
        """Ask once and return the seconds that it took."""
        began = time.perf_counter()
        link.request("POST", self.path, self.body, self.headers)
        reply = link.getresponse()
        content = reply.read()
        taken = time.perf_counter() - began
        if reply.status != 200:
            raise SystemExit(f"{self.name} answered {reply.status}: {content[:300]!r}")
        return taken

    def cpu(self) -> float:
        """Return the processor seconds that its processes have taken."""
        found = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            times = process.cpu_times()
            found += times.user + times.system
        return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """Run a server until the `with` ends, from when it listens."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ends = time.monotonic() + 300
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > ends:
                    raise SystemExit(f"{command[1:4]} did not start") from None
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def servers(folder: Path, backend: str, *, binary: bool, keep: bool) -> Iterator[tuple[Server, Server]]:
    """Start both, with the same model and the same input."""
    model, x = EXAMPLE / "mnist_mlp.onnx", np.load(EXAMPLE / "digits.npz")["x"][:1].astype(np.float32)
    plain = wire.write_request({"input": x}, wire.Asked(), binary=False)
    asked = wire.write_request({"input": x}, wire.Asked(), binary=binary)
    script = folder / "bare.py"
    script.write_text(BARE)
    with ExitStack() as held:
        port = free_port()
        command = [sys.executable, str(script), str(model), str(folder / "bare.db"), str(port)]
        process = held.enter_context(started(command, port, {}))
        bare = Server("bare", port, "/infer", process, plain.content, plain.headers)
        port = free_port()
        command = [sys.executable, "-m", "balance_core.cli", "serve", str(model), "--name", "digits"]
        command += ["--samples", str(EXAMPLE / "digits.npz"), "--backend", backend, "--port", str(port)]
        command += ["-o", "limit.requests_per_second=1000000", "-o", "limit.burst=1000000"]
        command += [] if keep else ["--no-keep-inputs"]
        process = held.enter_context(started(command, port, {"BALANCE_HOME": str(folder / "home")}))
        path = "/v2/models/digits/infer"
        deadline = time.monotonic() + 300
        balance = Server("balance", port, path, process, asked.content, asked.headers)
        while True:  # it listens before the model is set up
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            link.request("GET", "/v2/health/ready")
            if link.getresponse().status == 200:
                break
            if time.monotonic() > deadline:
                raise SystemExit("balance serve did not become ready")
        yield bare, balance


def in_turns(pair: tuple[Server, Server], requests: int) -> dict[str, list[float]]:
    """Ask both, one request each at a time, and return the seconds."""
    links = [server.connect() for server in pair]
    found: dict[str, list[float]] = {server.name: [] for server in pair}
    for number in range(requests + 20):
        for server, link in zip(pair, links, strict=True):
            taken = server.ask(link)
            if number >= 20:
                found[server.name].append(taken)
    return found


def together(server: Server, requests: int) -> float:
    """Have 16 clients ask at the same time; returns answers a second."""
    share = max(requests // CLIENTS, 1)

    def ask() -> None:
        link = server.connect()
        for _ in range(share):
            server.ask(link)

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return share * CLIENTS / (time.perf_counter() - began)


def main() -> None:
    """Measure, print, and exit with 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--backend", default="integer")
    parser.add_argument("--binary", action="store_true", help="send the provider binary tensors")
    parser.add_argument("--no-keep", action="store_true", help="do not keep inputs for later proofs")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(Path(folder), given.backend, binary=given.binary, keep=not given.no_keep) as pair,
    ):
        before = [server.cpu() for server in pair]
        taken = in_turns(pair, given.requests)
        spent = [server.cpu() - start for server, start in zip(pair, before, strict=True)]
        result = {}
        for server, cpu in zip(pair, spent, strict=True):
            samples = sorted(taken[server.name])
            result[server.name] = {
                "p50_ms": round(statistics.median(samples) * 1e3, 3),
                "p95_ms": round(samples[int(len(samples) * 0.95)] * 1e3, 3),
                "cpu_ms": round(cpu / (given.requests + 20) * 1e3, 3),
                "per_second_16": round(together(server, given.requests), 1),
            }
    ratio = result["balance"]["p50_ms"] / result["bare"]["p50_ms"]
    print(json.dumps({**result, "ratio_p50": round(ratio, 3), "bar": FACTOR}, indent=2))
    raise SystemExit(0 if ratio <= FACTOR else 1)


if __name__ == "__main__":
    main()
