from collections.abc import Callable
from typing import TypedDict

MAX_ROWS: int
__version__: str

class Run(TypedDict):
    output: list[bytes]
    steps: int
    rows: dict[str, int]

class Proven(Run):
    proof: bytes
    seconds: dict[str, float]

def preprocessed_root() -> bytes: ...
def run(program: bytes, hints: list[tuple[int, int, int, int]], tape: bytes, *, threads: int = 0) -> Run: ...
def prove(
    program: bytes,
    hints: list[tuple[int, int, int, int]],
    tape: bytes,
    *,
    queries: int,
    progress: Callable[[str], object] | None = None,
    threads: int = 0,
) -> Proven: ...
