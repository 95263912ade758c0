"""What the `ipfs` storage adds to a node's own speed: its throughput beside curl's, on the same daemon, in one run.

Turn by turn, and in the order ours, theirs, theirs, ours, because machines drift: 60 MB of new content are put by the
plugin, which hashes them on the way and confirms the pin, and added by curl; then content is opened by the plugin,
which hashes every block, and read by curl (`cat`), once into nothing and once into sha256sum, which is the least that
checking costs. Bar: at least 0.8 of curl's throughput for content that is put and opened again, by the medians; on a
daemon, not on the tests' own program. `open` alone stays behind a curl that checks nothing: hashing is its task.

    python benchmarks/ipfs.py [--rpc http://127.0.0.1:5001] [--turns 7] [--megabytes 60]

Without --rpc the daemon is the one that BALANCE_IPFS_DAEMON names (see plugins/storage_ipfs/tests/daemon.py), or else
the program beside the plugin's tests, which is built on the reference node's libraries and has an RPC of our own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from balance_ipfs.node import _ADD
from balance_ipfs.settings import IpfsSettings
from balance_ipfs.storage import IpfsStorage

from balance_core.cid import chunks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BAR = 0.8
OWN = "the program beside the tests"
ORDER = ("ours", "theirs", "theirs", "ours")
TESTS = Path(__file__).resolve().parents[1] / "plugins" / "storage_ipfs" / "tests"


@contextlib.contextmanager
def daemon(rpc: str | None, folder: Path) -> Iterator[tuple[str, str]]:
    """Lend the address of an RPC and what speaks it."""
    sys.path.insert(0, str(TESTS))
    if rpc:
        yield rpc, "the node given"
    elif os.environ.get("BALANCE_IPFS_DAEMON"):
        import daemon as others

        with others.running(folder / "repository") as found:
            yield found.rpc, "js-ipfs"
    else:
        import peer

        (folder / "node").mkdir()
        with peer.serving(folder / "node") as found:
            yield found.rpc, OWN


def curl(*arguments: str) -> float:
    """Run curl and return the seconds that it counted."""
    command = ["curl", "--silent", "--fail", "--request", "POST", "--output", os.devnull]
    done = subprocess.run(
        [*command, "--write-out", "%{time_total}", *arguments], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def hashed(url: str) -> float:
    """Let curl fetch and sha256sum check, at the same time, and return the seconds."""
    fetch, check = ["curl", "--silent", "--fail", "--request", "POST", url], ["sha256sum"]
    start = time.perf_counter()
    with subprocess.Popen(fetch, stdout=subprocess.PIPE) as fetching:
        subprocess.run(check, stdin=fetching.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def content(path: Path, size: int) -> Path:
    """Write new random content to a file, and read it once so that it is in memory for whoever comes first."""
    path.write_bytes(os.urandom(size))
    path.read_bytes()
    return path


def put(store: IpfsStorage, path: Path) -> tuple[float, str]:
    """Put a file and return the seconds and its address."""
    start = time.perf_counter()
    with path.open("rb") as source:
        address = store.put(source)
    return time.perf_counter() - start, address


def read(store: IpfsStorage, address: str, size: int) -> float:
    """Read content to its end and return the seconds."""
    start = time.perf_counter()
    with store.open(address, max_size=size) as stream:
        if sum(map(len, chunks_of(stream))) != size:
            raise SystemExit("content of another size came back")
    return time.perf_counter() - start


def turn(store: IpfsStorage, rpc: str, path: Path, size: int) -> dict[str, list[float]]:
    """Let each do everything twice, and return the seconds."""
    query = "&".join(f"{name}={value}" for name, value in {**_ADD, "pin": "true"}.items())
    taken: dict[str, list[float]] = {"curl add": [], "put": [], "curl cat": [], "curl cat, hashed": [], "open": []}
    address = ""
    for who in ORDER:
        content(path, size)
        if who == "ours":
            seconds, address = put(store, path)
            taken["put"].append(seconds)
        else:
            taken["curl add"].append(curl("--form", f"file=@{path}", f"{rpc}/api/v0/add?{query}"))
    for who in ORDER:
        if who == "ours":
            taken["open"].append(read(store, address, size))
        else:
            taken["curl cat"].append(curl(f"{rpc}/api/v0/cat?arg={address}"))
            taken["curl cat, hashed"].append(hashed(f"{rpc}/api/v0/cat?arg={address}"))
    store.unpin(address)
    return taken


def main() -> None:
    """Measure, print and judge."""
    options = argparse.ArgumentParser()
    options.add_argument("--rpc")
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--megabytes", type=int, default=60)
    given = options.parse_args()
    if shutil.which("curl") is None:
        raise SystemExit("curl is missing: install it to compare with")
    size = given.megabytes * 10**6
    with tempfile.TemporaryDirectory() as folder, daemon(given.rpc, Path(folder)) as (rpc, what):
        store = IpfsStorage(IpfsSettings(rpc_url=rpc))
        turns = [turn(store, rpc, Path(folder) / "content", size) for _ in range(given.turns + 1)]
    print(f"{given.megabytes} MB against {what}, {given.turns} turns, after one to warm up")
    print(f"{'':<16} {'best s':>8} {'median s':>9} {'MB/s':>7}")
    middle = {}
    for name in turns[0]:
        seconds = [second for one in turns[1:] for second in one[name]]
        middle[name] = statistics.median(seconds)
        print(f"{name:<16} {min(seconds):8.3f} {middle[name]:9.3f} {given.megabytes / middle[name]:7.0f}")
    both = (middle["curl add"] + middle["curl cat"]) / (middle["put"] + middle["open"])
    put, opened, checked = (
        middle[theirs] / middle[ours]
        for theirs, ours in (("curl add", "put"), ("curl cat", "open"), ("curl cat, hashed", "open"))
    )
    print(f"throughput beside curl's: put and open {both:.2f} (bar {BAR}); put {put:.2f}, open {opened:.2f}")
    print(f"open beside curl that checks what it gets, too: {checked:.2f}")
    if both < BAR and what != OWN:
        raise SystemExit(f"below the bar of {BAR}")


if __name__ == "__main__":
    main()
