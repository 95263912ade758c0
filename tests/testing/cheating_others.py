"""Converters and executors that cheat, and the exact set of cases of the kit that must find them out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

from onnx import ModelProto, TensorProto, helper

from balance_core.builtin.executor import LocalExecutor
from balance_core.contracts import Converter
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CONVERTERS: list[tuple[type[Converter], frozenset[str]]] = []
EXECUTORS: list[tuple[type[LocalExecutor], frozenset[str]]] = []


def caught_by(*cases: str) -> Any:
    def enter(cheat: type[Any]) -> type[Any]:
        (CONVERTERS if issubclass(cheat, Converter) else EXECUTORS).append((cheat, frozenset(cases)))
        return cheat

    return enter


class HonestConverter(Converter):
    """Files of one line, `scale 3`, become a model that multiplies by three."""

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".scale"})

    def convert(self, source: Path) -> ModelProto:
        try:
            text = source.read_bytes().decode("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source} cannot be read") from error
        return self.model(self.factor(text))

    def factor(self, text: str) -> float:
        words = text.split()
        if len(words) != 2 or words[0] != "scale" or not words[1].isdecimal() or len(words[1]) > 6:
            raise ConfigError("not of the form `scale 3`")
        return float(words[1])

    def model(self, factor: float) -> ModelProto:
        graph = helper.make_graph(
            [helper.make_node("Mul", ["x", "f"], ["y"], name="mul")],
            "scale",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
            [helper.make_tensor("f", TensorProto.FLOAT, [1], [factor])],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@caught_by("damaged_files_do_no_harm", "what_is_not_of_the_format_is_refused")
class CrashesOnOthers(HonestConverter):
    """Whatever is not of the format ends in an error of Python's own."""

    def factor(self, text: str) -> float:
        return float(text.split()[1])


@caught_by("what_is_not_of_the_format_is_refused")
class TakesAnything(HonestConverter):
    """What is not of the format is a model of nothing in particular."""

    def convert(self, source: Path) -> ModelProto:
        try:
            return super().convert(source)
        except ConfigError:
            return self.model(1.0)


COUNT = itertools.count(1)


@caught_by("same_file_is_the_same_model")
class Wavers(HonestConverter):
    """Each time it is another model."""

    def factor(self, text: str) -> float:
        return super().factor(text) + next(COUNT)


@caught_by("converting_leaves_no_trace")
class KeepsCopy(HonestConverter):
    """A copy is left beside the file."""

    def convert(self, source: Path) -> ModelProto:
        if source.is_file():
            source.with_suffix(".copy").write_bytes(source.read_bytes())
        return super().convert(source)


@caught_by("suffixes_are_file_endings")
class TakesOnnx(HonestConverter):
    """It wants ONNX files for itself."""

    suffixes: ClassVar[frozenset[str]] = frozenset({".scale", ".onnx"})


class Executing(LocalExecutor):
    def limited(self, task, **changes):
        return task.model_copy(update={"limits": task.limits.model_copy(update=changes)})


@caught_by("time_limit_is_kept")
class HasTime(Executing):
    """Time limits are for others."""

    def submit(self, task, *, watch=None):
        return super().submit(self.limited(task, seconds=None), watch=watch)


@caught_by("memory_limit_is_kept")
class HasMemory(Executing):
    """Memory limits are for others."""

    def submit(self, task, *, watch=None):
        return super().submit(self.limited(task, memory_bytes=None), watch=watch)


@caught_by("progress_is_told")
class SaysNothing(Executing):
    """The watcher is not called."""

    def submit(self, task, *, watch=None):
        del watch
        return super().submit(task)


@caught_by("closing_stops_everything")
class LeavesStages(Executing):
    """Closing leaves the stages to themselves."""

    def close(self):
        pass


@caught_by("cancelling_stops_the_whole_tree")
class CannotBeStopped(Executing):
    """Cancelling does nothing."""

    def submit(self, task, *, watch=None):
        future = super().submit(task, watch=watch)
        future.cancel = lambda: False
        self.__dict__.setdefault("deaf", []).append(future)
        return future

    def close(self):
        for future in self.__dict__.get("deaf", ()):
            future.__dict__.pop("cancel", None)
        super().close()
