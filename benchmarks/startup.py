"""How long `balance --help` takes beside a bare typer program, interleaved: at most 1.5 times as long."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer
app = typer.Typer(no_args_is_help=True)
@app.command()
def hello(name: str = "you"):
    "Say hello."
@app.command()
def bye():
    "Say good-bye."
app()
"""
OURS = "from balance_core.cli import main; main()"
ROUNDS = 15
BAR = 1.5


def seconds(arguments: list[str]) -> float:
    """Run a program once and return the wall seconds that it took."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and exit with 1 past the bar."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)
        ours = Path(folder, "ours.py")
        ours.write_text(OURS)
        pairs = [(seconds([str(ours)]), seconds([str(bare)])) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"balance --help: {statistics.median(a for a, _ in pairs):.3f} s (median of {ROUNDS})")
    print(f"bare typer:     {statistics.median(b for _, b in pairs):.3f} s")
    print(f"ratio:          {ratio:.2f} (median of pairs; bar {BAR})")
    sys.exit(ratio > BAR)


if __name__ == "__main__":
    main()
