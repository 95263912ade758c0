"""Writes the skeleton of a plugin: a distribution that installs and keeps the kit's promises, as a toy."""

from __future__ import annotations

import re
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME = 40
_KINDS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    # kind: what it is called, its entry points by group, its modules by template
    "backends": (
        "A proof system for Balance.",
        {
            "balance.backends": "$module.backend:${Name}Backend",
            "balance.verifiers": "$module.verifier:${Name}Verifier",
        },
        {"__init__": "init", "backend": "backend", "verifier": "verifier"},
    ),
    "chains": ("A chain for Balance.", {"balance.chains": "$module:${Name}Chain"}, {"__init__": "init"}),
    "converters": (
        "A model format for Balance.",
        {"balance.converters": "$module:${Name}Converter"},
        {"__init__": "init", "conformance": "conformance"},
    ),
    "storage": ("A store for Balance.", {"balance.storage": "$module:${Name}Storage"}, {"__init__": "init"}),
}


def write_plugin(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a distribution `balance-<name>` into a new folder of that name, and return its files.

    The first of them is its pyproject.toml. Raises ConfigError for a name or kind that cannot be, or where something
    is in the way.
    """
    if kind not in _KINDS:
        raise ConfigError(f"there is no skeleton for plugins of kind {kind!r}", hint=f"kinds are {', '.join(_KINDS)}")
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ConfigError(
            f"{name[:80]!r} is not a name for a plugin",
            hint=f"at most {_MAX_NAME} small letters, digits and dashes, a letter first: mine, my-prover",
        )
    target = folder / f"balance-{name}"
    written = []
    try:
        target.mkdir(parents=True)
        for path, text in _files(name, kind).items():
            (target / path).parent.mkdir(exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
            written.append(target / path)
    except FileExistsError as error:
        raise ConfigError(
            f"there is something at {target} already", hint="remove it, or choose another name"
        ) from error
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}", hint="choose another --folder") from error
    return written


def _files(name: str, kind: str) -> dict[str, str]:
    """Return the distribution's files by their paths, pyproject.toml first."""
    summary, entry_points, modules = _KINDS[kind]
    module = "balance_" + name.replace("-", "_")
    words = {
        "Name": "".join(part.capitalize() for part in name.split("-")),
        "distribution": f"balance-{name}",
        "kind_option": "" if kind == "backends" else f" --kind {kind}",
        "module": module,
        "name": name,
        "summary": summary,
    }
    sections = [f'[project.entry-points."{group}"]\n{name} = "{target}"' for group, target in entry_points.items()]
    if "conformance" in modules:
        conformance = "$module.conformance:${Name}Conformance"
        sections.append(f'[project.entry-points."balance.conformance"]\n"{kind}.{name}" = "{conformance}"')
    words["entry_points"] = Template("\n\n".join(sections)).substitute(words)
    files = {"pyproject.toml": "pyproject.toml", "README.md": "README.md"}
    files |= {f"{module}/{path}.py": f"{kind}.{template}" for path, template in modules.items()}
    files[f"tests/test_{module.removeprefix('balance_')}.py"] = f"{kind}.test"
    templates = resources.files("balance_core") / "templates"
    return {
        path: Template((templates / f"{template}.txt").read_text(encoding="utf-8")).substitute(words)
        for path, template in files.items()
    }
