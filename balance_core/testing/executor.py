"""The conformance of executors: whatever a stage does, its caller gets a result or a typed error."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from balance_core import errors
from balance_core.model import Model
from balance_core.stages import Limits, Task
from balance_core.testing import probe
from balance_core.testing.form import PluginConformance
from balance_core.workspace import HOME_VARIABLE, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from balance_core.contracts import Executor
    from balance_core.stages import Progress, TaskResult

_MODEL = Model("0" * 64, "kit", (), (), (), b"")


class ExecutorConformance(PluginConformance):
    """What every executor promises: `class TestMine(ExecutorConformance): executor = "mine"`.

    The stages run a backend of the kit's own, which PYTHONPATH makes known to the processes that the executor starts;
    the workspace is the data folder (BALANCE_HOME). An executor that works elsewhere overrides `place_settings` and
    `install`.
    """

    kind = "executors"
    attribute = "executor"
    executor: ClassVar[str | type[Executor]]
    """Name or class of the executor."""
    patience: ClassVar[float] = 30.0
    """How many seconds may pass before something that should happen is taken not to."""

    @classmethod
    def place_settings(cls, place: Path) -> dict[str, Any]:
        """Return settings under which stages find their content at this place."""
        del place
        return {}

    @classmethod
    def install(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the kit's backend known to the processes that run stages."""
        info = folder / "balance_kit_probe-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: balance-kit-probe\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[balance.backends]\n{probe.NAME} = {probe.__name__}:Probe\n")
        known = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), known])))

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty data folder."""
        self.plugin_class()
        place = tmp_path / "place"
        place.mkdir()
        monkeypatch.setenv(HOME_VARIABLE, str(place))
        self.install(tmp_path / "installed", monkeypatch)
        return place

    @pytest.fixture
    def runner(self, place: Path) -> Iterator[Executor]:
        """An executor, closed afterwards."""
        runner: Executor = self.make(**self.place_settings(place))
        yield runner
        runner.close()

    @pytest.fixture
    def model(self, place: Path) -> str:
        """The address of a model in the workspace."""
        return Workspace(place).publish_bytes(_MODEL.to_bytes())

    def test_result_comes_back(self, runner: Executor, model: str) -> None:
        """A stage's value comes back, with what it cost."""
        result = runner.submit(_task(model, "nothing")).result(self.patience)
        assert result.value["problems"] == []
        assert result.measurement.peak_memory_bytes > 2**20

    def test_stage_runs_in_a_process_of_its_own(self, runner: Executor, model: str) -> None:
        """No two stages share a process, and none is the caller's."""
        processes = {_notes(runner.submit(_task(model, "nothing")).result(self.patience))[1] for _ in range(2)}
        assert len(processes) == 2
        assert str(os.getpid()) not in processes

    def test_scratch_folder_is_gone_afterwards(self, runner: Executor, model: str) -> None:
        """The folder in which a stage works is its own, and is removed."""
        folder = _notes(runner.submit(_task(model, "nothing")).result(self.patience))[0]
        assert not Path(folder).exists()

    @pytest.mark.parametrize(
        ("does", "error", "says"),
        [
            ("refuse", errors.ConfigError, "the probe refuses"),
            ("invalid", errors.InvalidProof, "the probe calls it invalid"),
            ("unsupported", errors.UnsupportedModel, "the probe supports nothing"),
            ("tool", errors.ToolFailed, "the probe's tool failed"),
            ("crash", errors.StageError, "stage check"),
            ("panic", errors.StageError, "stage check"),
            ("exit", errors.StageError, "stage check"),
            ("kill", errors.StageError, "stage check"),
        ],
    )
    def test_errors_travel(
        self, runner: Executor, model: str, does: str, error: type[errors.BalanceError], says: str
    ) -> None:
        """A stage's typed error arrives as it was raised; a crash as a StageError that names the stage."""
        with pytest.raises(error, match=says):
            runner.submit(_task(model, does)).result(self.patience)

    def test_errors_keep_what_they_say(self, runner: Executor, model: str) -> None:
        """Hints, and the nodes of an unsupported model, survive the journey."""
        with pytest.raises(errors.ConfigError) as refused:
            runner.submit(_task(model, "refuse")).result(self.patience)
        assert refused.value.hint == "ask for something else"
        with pytest.raises(errors.UnsupportedModel) as unsupported:
            runner.submit(_task(model, "unsupported")).result(self.patience)
        assert [issue.node for issue in unsupported.value.issues] == ["node"]

    def test_unknown_work_is_an_error(self, runner: Executor, model: str) -> None:
        """A plugin that is not there, and content that is not there, are typed errors of the stage."""
        with pytest.raises(errors.PluginNotFound):
            runner.submit(Task(stage="check", plugin="no-such", blobs={"model": model})).result(self.patience)
        absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        with pytest.raises(errors.BlobNotFound):
            runner.submit(_task(absent, "nothing")).result(self.patience)

    def test_time_limit_is_kept(self, runner: Executor, model: str) -> None:
        """A stage that takes longer than it may is stopped soon, with StageTimeout."""
        started = time.monotonic()
        with pytest.raises(errors.StageTimeout):
            runner.submit(_task(model, "sleep", {"seconds": 2}, seconds=0.3)).result(self.patience)
        assert time.monotonic() - started < self.patience

    def test_memory_limit_is_kept(self, runner: Executor, model: str) -> None:
        """A stage that holds more memory than it may is stopped, with StageOutOfMemory."""
        task = _task(model, "hold", {"megabytes": 600, "seconds": 2}, memory_bytes=300 * 2**20)
        with pytest.raises(errors.StageOutOfMemory):
            runner.submit(task).result(self.patience)

    def test_memory_is_measured(self, runner: Executor, model: str) -> None:
        """The peak of a stage's memory is at least what it held, and its time at least what it took."""
        task = _task(model, "hold", {"megabytes": 200, "seconds": 0.2})
        measured = runner.submit(task).result(self.patience).measurement
        assert measured.peak_memory_bytes >= 200 * 2**20
        assert measured.wall_seconds >= 0.2

    def test_cancelling_stops_the_whole_tree(self, runner: Executor, model: str, tmp_path: Path) -> None:
        """Cancelling ends the stage and every process that it started, and the future says so at once."""
        note = tmp_path / "note"
        future = runner.submit(_task(model, "spawn", {"note": str(note), "seconds": 60}))
        processes = self._noted(note)
        future.cancel()
        with pytest.raises(BaseException):  # noqa: B017, PT011 - a StageError, or the future's own CancelledError
            future.result(self.patience)
        self._wait(lambda: not any(map(_alive, processes)), "processes are left")

    def test_closing_stops_everything(self, runner: Executor, model: str, tmp_path: Path) -> None:
        """Closing ends all stages and the processes that they started, before it returns."""
        note = tmp_path / "note"
        runner.submit(_task(model, "spawn", {"note": str(note), "seconds": 60}))
        processes = self._noted(note)
        runner.close()
        self._wait(lambda: not any(map(_alive, processes)), "processes are left")

    def test_log_is_kept(self, runner: Executor, model: str) -> None:
        """What a stage writes to its standard output is in the log that its result names."""
        result = runner.submit(_task(model, "nothing")).result(self.patience)
        assert result.log is not None
        assert probe.WORDS in Path(result.log).read_text()

    def test_progress_is_told(self, runner: Executor, model: str) -> None:
        """While a stage runs, its watcher is told how long it has run and what memory it holds."""
        seen: list[Progress] = []
        task = _task(model, "hold", {"megabytes": 50, "seconds": 1.0})
        runner.submit(task, watch=seen.append).result(self.patience)
        assert seen
        assert all(progress.stage == "check" for progress in seen)
        assert max(progress.memory_bytes for progress in seen) > 2**20
        elapsed = [progress.elapsed_seconds for progress in seen]
        assert elapsed == sorted(elapsed)

    def test_hints_change_nothing(self, runner: Executor, model: str) -> None:
        """A stage that was announced gives what it would have given, and so does another one that comes instead."""
        runner.prepare("check", probe.NAME)
        assert runner.submit(_task(model, "nothing")).result(self.patience).value["problems"] == []
        runner.prepare("prove", "no-such")
        assert runner.submit(_task(model, "nothing")).result(self.patience).value["problems"] == []

    def test_stages_run_side_by_side(self, runner: Executor, model: str) -> None:
        """Several stages at once get each its own result, and one that fails does not disturb the others."""
        with ThreadPoolExecutor(3) as threads:
            futures = list(
                threads.map(lambda does: runner.submit(_task(model, does)), ("nothing", "crash", "nothing"))
            )
        with pytest.raises(errors.StageError):
            futures[1].result(self.patience)
        one, two = (_notes(futures[index].result(self.patience)) for index in (0, 2))
        assert one[0] != two[0]

    def _noted(self, note: Path) -> list[int]:
        self._wait(note.exists, "the stage does not start")
        return [int(process) for process in note.read_text().split()]

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        end = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < end, complaint
            time.sleep(0.02)


def _task(model: str, does: str, settings: dict[str, Any] | None = None, **limits: Any) -> Task:
    return Task(
        stage="check",
        plugin=probe.NAME,
        settings={"does": does, **(settings or {})},
        blobs={"model": model},
        limits=Limits(**limits),
    )


def _notes(result: TaskResult) -> list[str]:
    notes: list[str] = result.value["notes"]
    return notes


def _alive(process: int) -> bool:
    """Say whether a process runs; one that has ended and waits for its parent does not."""
    if Path("/proc/self/stat").exists():
        status = Path(f"/proc/{process}/stat")
        try:
            return status.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
