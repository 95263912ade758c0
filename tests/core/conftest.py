from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BALANCE_HOME", str(folder))
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution with entry points, for this process and the workers that it starts."""
    folder = tmp_path / "site"

    def install_distribution(
        module: str, source: str, entry_points: dict[str, list[str]], *, distribution: str | None = None
    ) -> None:
        name = distribution or module
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        groups = (f"[{group}]\n" + "\n".join(points) + "\n" for group, points in entry_points.items())
        (info / "entry_points.txt").write_text("\n".join(groups))
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install_distribution
