"""Backends that go wrong, each in one way and at one stage; apart from that they are the honest mock.

`ENDS` says how the cell of each must end: status, stage, and words of the reason.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from compare_mock import MockBackend

from balance_core.errors import ToolFailed, UnsupportedModel
from balance_core.records import Proof
from balance_core.stages import Estimate, NodeProblem, Support

ENDS = {}


def ends(status, stage, words=""):
    def enter(kind):
        kind.name = kind.__name__.lower()
        ENDS[kind.name] = (status, stage, words)
        return kind

    return enter


def forever():
    while True:
        time.sleep(600)


@ends("timeout", "prove", "took more than")
class Hangs(MockBackend):
    def prove(self, *_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        forever()


@ends("ok", None)
class Forks(MockBackend):
    """Leaves children behind: in a session of their own, and orphaned."""

    def setup(self, model, samples, job):
        for _ in range(5):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    with contextlib.suppress(BaseException):
                        forever()
                os._exit(0)
        return super().setup(model, samples, job)


@ends("out_of_memory", "setup", "more than the")
class FillsMemory(MockBackend):
    def setup(self, *_):
        kept = []
        while True:
            kept.append(b"x" * 2**24)
            time.sleep(0.002)


@ends("out_of_memory", "setup", "more than the")
class OrphanFillsMemory(MockBackend):
    """What holds the memory is no descendant any more: its parent has ended."""

    def setup(self, *_):
        code = "import time\nkept = []\nfor _ in range(100):\n    kept.append(b'x' * 2**24)\n    time.sleep(0.002)\n"
        if os.fork() == 0:
            os.setsid()
            subprocess.Popen([sys.executable, "-c", f"{code}time.sleep(600)"])
            os._exit(0)
        os.wait()
        forever()


@ends("out_of_memory", None, "not started")
class ExpectsTooMuch(MockBackend):
    def check(self, _model):
        return Support(estimate=Estimate(memory_bytes=2**50))


@ends("failed", "setup", "cannot be read")
class WritesGarbage(MockBackend):
    """Writes over its worker's answer, and ends before the worker can."""

    def setup(self, _model, _samples, job):
        (job.scratch.parent / "result.json").write_bytes(b"\xff{[garbage" * 1000)
        os._exit(0)


@ends("failed", "setup")
class AnswersGarbage(MockBackend):
    """Writes an answer that is JSON, and means nothing."""

    def setup(self, _model, _samples, job):
        (job.scratch.parent / "result.json").write_text('{"outcome": {"value": [], "blobs": {"circuit": 5}}}')
        os._exit(0)


@ends("failed", "setup")
class ReportsGarbage(MockBackend):
    """Writes into every pipe that it finds open."""

    def setup(self, *_):
        for handle in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(handle, b"\xff\xfe no report\n{]\n")
        time.sleep(2)
        os._exit(0)


@ends("failed", "setup")
class GivesNothing(MockBackend):
    def setup(self, *_):
        return None


@ends("failed", "execute")
class AnswersOtherTensors(MockBackend):
    def execute(self, *_):
        return [("no tensor",)]


@ends("failed", "setup", "SIGKILL")
class KillsItself(MockBackend):
    def setup(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


@ends("failed", "prove", "supervisor")
class KillsItsSupervisor(MockBackend):
    def prove(self, *_):
        os.kill(os.getppid(), signal.SIGKILL)
        forever()


@ends("failed", "prove", "SIGSEGV")
class Crashes(MockBackend):
    def prove(self, *_):
        import ctypes

        ctypes.string_at(0)


@ends("failed", "prove", "the tool\nsays no".replace("\n", " "))
class Fails(MockBackend):
    def prove(self, *_):
        raise ToolFailed("the tool\nsays no")


@ends("unsupported", "check", "Gemm")
class Covers(MockBackend):
    def check(self, model):
        node = next(iter(model.proto().graph.node))
        return Support(problems=(NodeProblem(node=node.name or "node", operator="Gemm", reason="too modern"),))


@ends("unsupported", "setup", "too late")
class CoversTooLate(MockBackend):
    def setup(self, *_):
        raise UnsupportedModel("too late", issues=[("node", "Gemm", "it noticed too late")])


@ends("refused", "verify", "no other process can verify")
class ProvesNothing(MockBackend):
    def prove(self, *_):
        return Proof(self.name, b"no proof")
