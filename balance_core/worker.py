"""Runs one stage in a lean process of its own: `python -m balance_core.worker`, started by the local executor.

The process starts without knowing its stage, imports what it was told to expect, and reads one task from its standard
input. So the executor can keep a worker warm for the stage that comes next.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from balance_core.supervisor import Supervisor, WorkerSide

RESULT_FILE = "result.json"
"""The worker's answer, in the folder that holds its scratch folder."""
_HOME_VARIABLE = "BALANCE_HOME"
"""As in `workspace`, which is not imported this early."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def main(arguments: list[str]) -> None:
    """Supervise one worker.

    The arguments are the reports' file descriptor, the parent's id, the stage and plugin to expect, and the niceness.
    """
    reports, parent, stage, plugin, niceness = arguments
    os.nice(int(niceness))
    Supervisor(int(reports), parent=int(parent)).run(lambda side: _work(side, stage, plugin))
    os._exit(0)  # whoever waits need not wait for the interpreter to be taken down


def _work(side: WorkerSide, stage: str, plugin: str) -> None:
    """Import what the expected stage needs, wait for the task, and do it."""
    from balance_core import work

    with contextlib.suppress(Exception):  # a task that needs it meets the same error, and reports it
        work.warm_up(stage, plugin or None)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    order = json.loads(line)
    scratch = Path(order["scratch"])
    _redirect_output(Path(order["log"]))
    os.chdir(scratch)
    own = {"TMPDIR": str(scratch), _HOME_VARIABLE: order["workspace"]}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(order["threads"])), **own)
    side.start(seconds=order["seconds"], memory_bytes=order["memory_bytes"])
    answer = _answer(side, order)
    (scratch.parent / RESULT_FILE).write_text(json.dumps(answer))
    side.done()


def _redirect_output(log: Path) -> None:
    """Send everything that is written to standard output and error, by native code too, to the stage's log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _answer(side: WorkerSide, order: dict[str, Any]) -> dict[str, Any]:
    """Do the stage's work and return its outcome or its error as JSON."""
    from balance_core import work
    from balance_core.errors import BalanceError, UnsupportedModel

    try:
        return {"outcome": work.perform(order, side.report)}
    except BalanceError as error:
        issues = [list(issue) for issue in error.issues] if isinstance(error, UnsupportedModel) else []
        first_line = str(error.args[0]) if error.args else ""
        return {"error": type(error).__name__, "message": first_line, "hint": error.hint, "issues": issues}
    except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception (a Rust panic does)
        traceback.print_exc()
        return {"crash": f"{type(error).__name__}: {error}"[:2000]}


if __name__ == "__main__":
    main(sys.argv[1:])
