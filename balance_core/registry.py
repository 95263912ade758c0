"""The one door to plugins: which are installed, what they are, and the class behind a name.

stevedore loads the one class that is named. Names and versions come from importlib.metadata, because entry points
out of stevedore's cache have no distribution.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

from balance_core import contracts
from balance_core.errors import (
    PluginConflict,
    PluginError,
    PluginIncompatible,
    PluginLoadError,
    PluginNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.contracts import Plugin

KINDS: dict[str, type[Plugin]] = {
    "backends": contracts.ProofBackend,
    "chains": contracts.ChainAdapter,
    "converters": contracts.Converter,
    "executors": contracts.Executor,
    "storage": contracts.Storage,
    "verifiers": contracts.Verifier,
}
"""The kinds of named plugins, each an entry point group `balance.<kind>`, and the contract of each."""

KNOWN_DISTRIBUTIONS = {
    ("backends", "ezkl"): "balance-ezkl",
    ("backends", "giza_orion"): "'balance-orion[prover]'",
    ("backends", "zkml_halo2"): "'balance-zkml[prover]'",
    ("chains", "evm"): "balance-evm",
    ("storage", "ipfs"): "balance-ipfs",
    ("verifiers", "ezkl"): "balance-ezkl",
    ("verifiers", "giza_orion"): "balance-orion",
    ("verifiers", "zkml_halo2"): "balance-zkml",
}
"""What to install for a name that is not there: for hints, and nothing else."""


@dataclass(frozen=True)
class PluginInfo:
    """What is known of an installed plugin without importing it."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str


def describe(kind: str) -> tuple[PluginInfo, ...]:
    """Return all installed plugins of a kind, sorted by name; two entries of one name are a conflict."""
    found = {
        PluginInfo(kind, point.name, point.dist.name, point.dist.version, point.value)
        for point in metadata.entry_points(group=f"balance.{kind}")
        if point.dist is not None
    }
    return tuple(sorted(found, key=lambda info: (info.name, info.distribution, info.version)))


def names(kind: str) -> tuple[str, ...]:
    """Return the names of the installed plugins of a kind."""
    return tuple(dict.fromkeys(info.name for info in describe(kind)))


def info(kind: str, name: str) -> PluginInfo:
    """Return what is known of one plugin; raises PluginNotFound or PluginConflict."""
    found = [plugin for plugin in describe(kind) if plugin.name == name]
    if not found:
        raise _not_found(kind, name)
    if len({(plugin.distribution, plugin.target) for plugin in found}) > 1:
        owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in found)
        raise PluginConflict(
            f"{len(found)} plugins of kind {kind} are called {name!r}: from {owners}",
            hint=f"pip uninstall {found[-1].distribution}",
        )
    return found[0]


def _not_found(kind: str, name: str) -> PluginNotFound:
    known = names(kind)
    distribution = KNOWN_DISTRIBUTIONS.get((kind, name))
    close = difflib.get_close_matches(name, known, n=1)
    if distribution:
        hint = f"pip install {distribution}"
    elif close:
        hint = f"did you mean {close[0]!r}?"
    else:
        hint = f"installed: {', '.join(known)}" if known else "none is installed: pip install balance-ezkl is a start"
    return PluginNotFound(f"no plugin of kind {kind} is called {name!r}", hint=hint)


def load(kind: str, name: str) -> type[Any]:
    """Import and return the class behind a name; raises the PluginError that says why it cannot be used."""
    from stevedore import DriverManager

    plugin = info(kind, name)
    # Give stevedore what is installed now: its own cache outlives installations, in the process and on disk.
    DriverManager.ENTRY_POINT_CACHE[f"balance.{kind}"] = list(metadata.entry_points(group=f"balance.{kind}"))
    try:
        # invoke_on_load=False because `.driver` of a falsy instance would be the class.
        manager: Any = DriverManager(
            f"balance.{kind}",
            name,
            invoke_on_load=False,
            on_load_failure_callback=_raise_cause,
        )
    except PluginError:
        raise
    except Exception as error:
        owner = f"{plugin.distribution} {plugin.version}"
        raise PluginLoadError(
            f"plugin {name!r} of {owner} does not load: {type(error).__name__}: {error}",
            hint=f"pip install --force-reinstall {plugin.distribution}",
        ) from error
    return _checked(plugin, manager.driver)


def _raise_cause(_manager: object, _point: object, error: BaseException) -> NoReturn:
    """Let the original error out: a callback that returns would hide it."""
    raise error


def _checked(plugin: PluginInfo, found: object) -> type[Any]:
    """Return the class if it keeps its side of the contract's form."""
    contract = KINDS[plugin.kind]
    owner = f"{plugin.distribution} {plugin.version}"
    if not isinstance(found, type) or not issubclass(found, contract):
        raise PluginLoadError(
            f"plugin {plugin.name!r} of {owner}: {plugin.target} is not a {contract.__name__}",
            hint=f"its author must make it inherit from balance_core.contracts.{contract.__name__}",
        )
    spoken = getattr(found, "api_version", None)
    if spoken != contracts.API_VERSION:
        newer = isinstance(spoken, int) and spoken > contracts.API_VERSION
        raise PluginIncompatible(
            f"plugin {plugin.name!r} of {owner} speaks version {spoken} of the contracts, "
            f"this core {contracts.API_VERSION}",
            hint=f"pip install --upgrade {'balance-core' if newer else plugin.distribution}",
        )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise PluginLoadError(
            f"plugin {plugin.name!r} of {owner} lacks {', '.join(missing)}",
            hint="docs/plugin-authors.md lists the methods",
        )
    return found


def create(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> Any:
    """Return an instance with validated settings; raises PluginError or ConfigError."""
    found = load(kind, name)
    return found(found.settings_class.parse(settings or {}, owner=name))


def observers() -> tuple[Any, list[tuple[str, Exception]]]:
    """Return a pluggy manager with every installed observer (entry points: balance.observers), and those that failed.

    pluggy's own loader has no isolation, so each is loaded on its own and a broken one does not stop the others.
    """
    import pluggy

    from balance_core import hookspecs

    manager = pluggy.PluginManager("balance")
    manager.add_hookspecs(hookspecs)
    broken: list[tuple[str, Exception]] = []
    for point in metadata.entry_points(group="balance.observers"):
        try:
            manager.register(point.load(), name=point.name)
            manager.check_pending()
        except Exception as error:  # noqa: BLE001 - whatever an observer does wrong is its own problem
            if manager.has_plugin(point.name):
                manager.unregister(name=point.name)
            broken.append((point.name, error))
    return manager, broken
