"""Installs mock backends for a test's own processes, as a third party's distribution would be."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent


def install(
    site: Path, patch: pytest.MonkeyPatch, backends: dict[str, tuple[str, str]], chains: dict[str, str] | None = None
) -> None:
    """Install a distribution, for this process and those it starts, with backends and verifiers by name."""
    info = site / "balance_compare_mocks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: balance-compare-mocks\nVersion: 1.0\nLicense-Expression: Apache-2.0\n"
    )
    points = {
        kind: "".join(f"{name} = {halves[place]}\n" for name, halves in backends.items())
        for place, kind in enumerate(("backends", "verifiers"))
    }
    points["chains"] = "".join(f"{name} = {target}\n" for name, target in (chains or {}).items())
    (info / "entry_points.txt").write_text("".join(f"[balance.{kind}]\n{text}\n" for kind, text in points.items()))
    patch.syspath_prepend(str(site))
    patch.setenv("PYTHONPATH", f"{site}:{HERE}")


def of_module(name: str) -> dict[str, tuple[str, str]]:
    """Return the backends of a module beside this one, by name, with the verifier of each."""
    module = importlib.import_module(name)
    verifiers = getattr(module, "VERIFIERS", {})
    return {
        kind.name: (f"{name}:{kind.__name__}", _target(verifiers.get(kind.name)))
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == name and hasattr(kind, "prove")
    }


def _target(verifier: type | None) -> str:
    return f"{verifier.__module__}:{verifier.__name__}" if verifier else "compare_mock:MockVerifier"
