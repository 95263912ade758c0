"""Stages in processes of their own: errors, limits, measurements, and that nothing outlives anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from balance_core import measure, processes
from balance_core.builtin.executor import LocalExecutor, LocalExecutorSettings
from balance_core.errors import ConfigError, StageError, StageOutOfMemory, StageTimeout, ToolFailed, UnsupportedModel
from balance_core.model import Model
from balance_core.processes import head_start
from balance_core.stages import Limits, Task
from balance_core.workspace import Workspace

ODD = """
    import os, signal, subprocess, sys, time
    from pydantic import Field
    from balance_core.contracts import ProofBackend
    from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
    from balance_core.settings import Settings
    from balance_core.stages import Capabilities, Support

    class OddSettings(Settings):
        does: str = Field("nothing", description="what it does")
        note: str = Field("", description="where it leaves a note")

    class Panic(BaseException):
        pass

    class Odd(ProofBackend):
        api_version = 1
        settings_class = OddSettings
        capabilities = Capabilities()
        version = "1"

        def check(self, model):
            getattr(self, self.settings.does)()
            return Support(notes=(os.getcwd(),))

        def nothing(self): pass
        def refuse(self): raise ConfigError("no", hint="try yes")
        def unsupported(self): raise UnsupportedModel("odd", issues=[NodeIssue("n", "Op", "why", "mend")])
        def bug(self): raise KeyError("oops")
        def panic(self): raise Panic("rust")
        def leave(self): os._exit(3)
        def stand_back(self): raise ConfigError(f"niceness {os.nice(0)}")
        def die(self): os.kill(os.getpid(), signal.SIGKILL)
        def talk(self): os.write(1, b"native words"); print("python words", flush=True)
        def burn(self):
            end = time.process_time() + 0.5
            while time.process_time() < end: pass
        def hold(self): self.kept = bytearray(b"x") * (200 << 20)
        def hold_below(self):
            code = "import time; kept = bytearray(b'x') * (200 << 20); time.sleep(0.3)"
            subprocess.run([sys.executable, "-c", code], check=True)
        def sleep(self):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            open(self.settings.note + ".new", "w").write(f"{os.getpid()} {child.pid}")
            os.replace(self.settings.note + ".new", self.settings.note)
            time.sleep(600)
        def setup(self, model, samples, job): raise NotImplementedError
        def execute(self, circuit, opening, inputs, job): raise NotImplementedError
        def prove(self, circuit, opening, requests, job): raise NotImplementedError
"""


@pytest.fixture
def executor(home, install):
    install("odd", ODD, {"balance.backends": ["odd = odd:Odd"]})
    made = LocalExecutor(LocalExecutorSettings(folder=home, logs=home / "logs"))
    yield made
    made.close()


@pytest.fixture
def model(home):
    home.mkdir(exist_ok=True)
    return Workspace(home).publish_bytes(Model("0" * 64, "m", (), (), (), b"").to_bytes())


def task(model: str, does: str, note: str = "", **limits) -> Task:
    return Task(
        stage="check",
        plugin="odd",
        settings={"does": does, "note": note},
        blobs={"model": model},
        limits=Limits(**limits),
    )


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_stage_works_in_a_scratch_folder_that_is_removed(executor, model):
    result = executor.submit(task(model, "nothing")).result()
    folder = Path(result.value["notes"][0])
    assert folder.name == "work"
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("does", "error", "message"),
    [
        ("refuse", ConfigError, "no"),
        ("unsupported", UnsupportedModel, r"odd; n \[Op\]: why \(mend\)"),
        ("bug", ToolFailed, "KeyError: 'oops'"),
        ("panic", ToolFailed, "Panic: rust"),
        ("leave", ToolFailed, "exit status 3"),
        ("die", ToolFailed, "SIGKILL"),
    ],
)
def test_whatever_a_stage_does_becomes_a_typed_error(executor, model, does, error, message):
    with pytest.raises(error, match=message) as caught:
        executor.submit(task(model, does)).result()
    assert caught.value.hint or does == "unsupported"


def test_the_issues_of_an_unsupported_model_survive_the_journey(executor, model):
    with pytest.raises(UnsupportedModel) as caught:
        executor.submit(task(model, "unsupported")).result()
    assert [tuple(issue) for issue in caught.value.issues] == [("n", "Op", "why", "mend")]


def test_native_and_python_output_goes_to_the_log(executor, model):
    result = executor.submit(task(model, "talk")).result()
    assert {"native words", "python words"} <= set(
        Path(result.log).read_text().replace("words", "words\n").split("\n")
    )


def test_processor_time_is_the_stages_own(executor, model):
    measured = executor.submit(task(model, "burn")).result().measurement
    assert 0.45 <= measured.cpu_seconds <= 0.75
    assert measured.wall_seconds >= 0.45


@pytest.mark.parametrize("does", ["hold", "hold_below"])
def test_peak_memory_is_that_of_the_whole_tree(executor, model, does):
    base = executor.submit(task(model, "nothing")).result().measurement.peak_memory_bytes
    peak = executor.submit(task(model, does)).result().measurement.peak_memory_bytes
    own = 20 << 20 if does == "hold_below" else 1 << 20  # a second interpreter, or the noise of the first
    assert (200 << 20) - own <= peak - base <= (200 << 20) + own


def test_a_large_parent_does_not_count(executor, model):
    ballast = bytearray(b"x") * (300 << 20)
    measured = executor.submit(task(model, "nothing")).result().measurement
    assert measured.peak_memory_bytes < 150 << 20
    assert ballast


def test_past_the_time_limit_the_whole_tree_is_killed(executor, model, tmp_path):
    note = tmp_path / "note"
    with pytest.raises(StageTimeout, match=r"more than 1\.5 s"):
        executor.submit(task(model, "sleep", str(note), seconds=1.5)).result()
    assert not any(map(alive, map(int, note.read_text().split())))


def test_past_the_memory_limit_it_is_killed(executor, model):
    with pytest.raises(StageOutOfMemory, match="more than the"):
        executor.submit(task(model, "hold", memory_bytes=120 << 20)).result()


def test_cancelling_kills_the_whole_tree(executor, model, tmp_path):
    note = tmp_path / "note"
    future = executor.submit(task(model, "sleep", str(note)))
    wait_until(note.exists)
    processes = list(map(int, note.read_text().split()))
    future.cancel()
    with pytest.raises(StageError, match="was stopped"):
        future.result()
    assert not any(map(alive, processes))


def test_progress_is_reported_while_it_runs(executor, model, tmp_path):
    seen = []
    future = executor.submit(task(model, "sleep", str(tmp_path / "note")), watch=seen.append)
    wait_until(lambda: len(seen) > 1)
    future.cancel()
    assert seen[-1].stage == "check"
    assert seen[-1].memory_bytes > 0


def test_a_worker_kept_warm_does_the_next_stage(executor, model):
    executor.prepare("check", "odd")
    assert executor.submit(task(model, "nothing")).result().value["notes"]
    executor.prepare("convert", None)
    assert executor.submit(task(model, "nothing")).result().value["notes"]


def test_a_worker_with_a_head_start_does_the_first_stage(executor, model):
    with head_start("check", "odd"):
        (early,) = processes._early
        executor.prepare("check", "odd")
        assert not processes._early
    assert executor.submit(task(model, "nothing")).result().value["notes"]
    assert early.wait() == 0


def test_a_worker_whose_head_start_nobody_uses_is_stopped():
    def interrupted():
        with head_start("convert"):
            started.extend(processes._early)
            raise KeyboardInterrupt

    started = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (early,) = started
    assert not processes._early
    assert early.wait() != 0


@pytest.mark.parametrize("ready", [False, True])
def test_stages_stand_back_as_far_as_they_are_told_to(executor, model, home, ready):
    before = os.nice(0)
    patient = LocalExecutor(LocalExecutorSettings(folder=home, niceness=3))
    try:
        for each, expected in [(executor, before), (patient, min(before + 3, 19))]:
            if ready:
                each.prepare("check", "odd")
            with pytest.raises(ConfigError, match=f"niceness {expected}$"):
                each.submit(task(model, "stand_back")).result()
    finally:
        patient.close()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("victim", ["parent", "supervisor", "worker"])
def test_when_one_process_is_killed_no_other_is_left(install, model, tmp_path, victim):
    install("odd", ODD, {"balance.backends": ["odd = odd:Odd"]})
    note = tmp_path / "note"
    script = f"""
from balance_core.builtin.executor import LocalExecutor
from balance_core.stages import Task
executor = LocalExecutor()
settings = {{"does": "sleep", "note": {str(note)!r}}}
task = Task(stage="check", plugin="odd", settings=settings, blobs={{"model": {model!r}}})
try:
    executor.submit(task).result()
except Exception as error:
    print(type(error).__name__)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    wait_until(note.exists)
    worker, child = map(int, note.read_text().split())
    supervisor = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill({"parent": parent.pid, "supervisor": supervisor, "worker": worker}[victim], signal.SIGKILL)
    wait_until(lambda: not alive(worker) and not alive(supervisor))
    if victim != "supervisor":  # nobody is left to look for a child that left its group
        wait_until(lambda: not alive(child))
    else:
        os.kill(child, signal.SIGKILL)
    out, _ = parent.communicate(timeout=10)
    assert victim == "parent" or out.strip() in {"ToolFailed", "StageOutOfMemory"}


def test_the_processors_of_this_process_are_counted():
    assert measure.processors() == len(os.sched_getaffinity(0))
    assert measure.available_memory() > 0
