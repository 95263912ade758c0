"""The conformance of converters: files of their format become models, and no other file becomes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from onnx import ModelProto

from balance_core.errors import BalanceError, ConfigError
from balance_core.model.integers import describe
from balance_core.model.load import load
from balance_core.testing import confine
from balance_core.testing.form import PluginConformance

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.contracts import Converter
    from balance_core.model import Model


class ConverterConformance(PluginConformance):
    """What every converter promises. It needs `examples` of its format, because the kit knows none."""

    kind = "converters"
    attribute = "converter"
    converter: ClassVar[str | type[Converter]]
    """Name or class of the converter."""

    def examples(self) -> dict[str, bytes]:
        """Return small files of the format, by name."""
        raise NotImplementedError

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        """The examples, in a folder that holds nothing else."""
        self.plugin_class()
        folder = tmp_path / "files"
        folder.mkdir()
        for name, data in self.examples().items():
            (folder / name).write_bytes(data)
        found = sorted(folder.iterdir())
        assert found, "a converter needs at least one example"
        return found

    def make_converter(self) -> Converter:
        """Return a new converter."""
        converter: Converter = self.make()
        return converter

    def _converted(self, path: Path) -> Model:
        converted = self.make_converter().convert(path)
        return load(converted, name="kit") if isinstance(converted, ModelProto) else describe(converted, "kit")

    def test_suffixes_are_file_endings(self) -> None:
        """The suffixes begin with a dot, are in lower case, and leave ONNX files alone."""
        suffixes = self.plugin_class().suffixes
        assert suffixes
        assert all(suffix.startswith(".") and suffix == suffix.lower() and len(suffix) > 1 for suffix in suffixes)
        assert ".onnx" not in suffixes

    def test_examples_have_its_suffixes(self, files: list[Path]) -> None:
        """The format's own files are found by their endings."""
        assert {path.suffix.lower() for path in files} <= self.plugin_class().suffixes

    def test_files_become_models(self, files: list[Path]) -> None:
        """A file of the format becomes a model that the core loads."""
        for path in files:
            model = self._converted(path)
            assert model.inputs
            assert model.outputs

    def test_same_file_is_the_same_model(self, files: list[Path]) -> None:
        """A file converted twice, by two instances, has one identity."""
        for path in files:
            assert self._converted(path).model_id == self._converted(path).model_id

    def test_what_is_not_of_the_format_is_refused(self, files: list[Path], tmp_path: Path) -> None:
        """Empty, random and missing files and folders are a ConfigError."""
        suffix = files[0].suffix
        made = {"empty": b"", "text": b"no model at all\n", "random": np.random.default_rng(5).bytes(3000)}
        for name, data in made.items():
            (tmp_path / f"{name}{suffix}").write_bytes(data)
        (tmp_path / f"folder{suffix}").mkdir()
        for name in (*made, "folder", "missing"):
            with pytest.raises(ConfigError):
                self.make_converter().convert(tmp_path / f"{name}{suffix}")

    def test_damaged_files_do_no_harm(self, files: list[Path], tmp_path: Path) -> None:
        """A file that was cut short or changed anywhere is refused cleanly, or becomes some model."""
        random = np.random.default_rng(6)
        for path in files:
            data = path.read_bytes()
            damaged = [data[: len(data) * part // 8] for part in range(1, 8)]
            for place in random.integers(len(data), size=60):
                changed = data[place] ^ int(random.integers(1, 256))
                damaged += [data[:place] + bytes([changed]) + data[place + 1 :]]
            for number, content in enumerate(damaged):
                target = tmp_path / f"{number}{path.suffix}"
                target.write_bytes(content)
                try:
                    self.make_converter().convert(target)
                except BalanceError:
                    continue

    def test_converting_leaves_no_trace(self, files: list[Path], tmp_path: Path) -> None:
        """Converting writes nothing outside a temporary folder, leaves the file as it is, and calls nobody."""
        temporary, around = tmp_path / "temporary", tmp_path / "around"
        temporary.mkdir()
        around.mkdir()
        before = {path: path.read_bytes() for path in files}
        network = self.plugin_class().needs_network
        with (
            confine.surroundings(around, temporary, {"HOME": str(around)}),
            confine.watched((temporary,), network=network) as watch,
        ):
            for path in files:
                self.make_converter().convert(path)
        assert not watch.writes
        assert network or not watch.calls
        assert not [*around.iterdir(), *temporary.iterdir()]
        assert {path: path.read_bytes() for path in sorted(files[0].parent.iterdir())} == before
