"""Asks a plugin what it is, in a process of its own: `python -m balance_core.compare.describing`.

A plugin is a stranger's code, and importing it runs that code: whatever it does there, the harness goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from balance_core import errors, registry
from balance_core.compare.results import BackendRecord
from balance_core.stages import Capabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 120.0
"""How long a plugin may take to be imported."""
_MAX_ANSWER = 2**20
_MARK = b"\nbalance-description "


@dataclass(frozen=True)
class Described:
    """A backend as it declares itself; `failure` says why it cannot be used."""

    record: BackendRecord
    settings: dict[str, Any]
    """As given, and as they are where every backend is asked for the same: public weights."""
    commits: bool = False
    exports: bool = False
    """Whether contracts can check its proofs."""
    failure: str = ""


def describe(name: str, settings: Mapping[str, Any], *, weights: str = "public") -> Described:
    """Ask a backend what it is, and have it read its settings.

    `weights` (public or private) goes to a backend that has a setting of this name, unless `settings` holds it.
    Raises PluginNotFound or PluginConflict for a name, and ConfigError for settings, that cannot be what was meant;
    a plugin that does not work is described as such.
    """
    plugin = registry.info("backends", name)
    order = {"name": name, "settings": dict(settings), "weights": weights}
    answer = _ask(order)
    if "config_error" in answer:
        raise errors.ConfigError(answer["config_error"], hint=answer["hint"])
    failure = str(answer.get("failure", ""))[:2000]
    declared, version = Capabilities(), "unknown"
    if not failure:
        try:
            declared, version = Capabilities.from_value(answer["capabilities"]), str(answer["version"])[:256]
            registry.info("verifiers", name)
        except (errors.BalanceError, LookupError) as error:
            failure = f"it does not describe itself: {error}"
    record = BackendRecord(
        name=name,
        version=version or "unknown",
        distribution=plugin.distribution,
        distribution_version=plugin.version,
        licence=_licence(plugin.distribution),
        capabilities=declared,
    )
    return Described(
        record=record,
        settings=dict(answer.get("settings", settings)),
        commits=bool(answer.get("commits")),
        exports=bool(answer.get("exports")),
        failure=failure,
    )


def _licence(distribution: str) -> str:
    """Return the licence that a distribution names, as an SPDX expression where it gives one."""
    found = metadata.metadata(distribution).json
    return str(found.get("license_expression") or found.get("license") or "").partition("\n")[0][:200]


def _ask(order: Mapping[str, Any]) -> dict[str, Any]:
    """Start a process that imports the plugin, and return what it says; its end ends all that it started."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "balance_core.compare.describing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(json.dumps(order).encode(), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"failure": f"it was not imported within {SECONDS:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = said.rpartition(_MARK)[2]
    if process.returncode != 0 or not text or len(text) > _MAX_ANSWER:
        return {"failure": f"its import ended the process (exit status {process.returncode})"}
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"failure": "it said nothing that can be read"}


def _describe(order: dict[str, Any]) -> dict[str, Any]:
    """Import the plugin and tell what it is."""
    from balance_core.contracts import ExportsEvmVerifier, ProofBackend

    try:
        found = registry.load("backends", order["name"])
        settings = dict(order["settings"])
        if "weights" in found.settings_class.model_fields:
            settings.setdefault("weights", order["weights"])
        parsed = found.settings_class.parse(settings, owner=order["name"])
        return {
            "capabilities": found(parsed).promises.model_dump(mode="json"),
            "version": found.version,
            "exports": issubclass(found, ExportsEvmVerifier),
            "commits": found.commit is not ProofBackend.commit,
            "settings": parsed.model_dump(mode="json", exclude_unset=True),
        }
    except errors.ConfigError as error:
        return {"config_error": error.message, "hint": error.hint}
    except BaseException as error:  # noqa: BLE001 - native code may raise outside Exception (a Rust panic does)
        return {"failure": f"{type(error).__name__}: {error}"[:2000]}


def _main() -> None:
    answer = _describe(json.loads(sys.stdin.buffer.read()))
    os.write(1, _MARK + json.dumps(answer).encode())
    os._exit(0)


if __name__ == "__main__":
    _main()
