# ruff: noqa: INP001, T201 - a script of the repository, which says what it does
"""Builds the plugins' Rust crates into wheels, each once, and installs those that this Python does not have.

A workspace is a folder `plugins/*/native` or `plugins/*/native/*` whose Cargo.toml has a `[workspace]`; each of its
crates with a pyproject.toml becomes a wheel. Cargo starts in the workspace, so that its `.cargo/config.toml` holds.
`prepare.py`, where a workspace brings one, runs first with the target folder.
Folders: `$BALANCE_BUILD_CACHE`, else `$XDG_CACHE_HOME/balance`, else `~/.cache/balance`.

Without cargo, or where a build fails, everything else still works: a line says what is missing and why. That is an
error only for plugins that `$BALANCE_REQUIRE` names (comma-separated), as in CI.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
IGNORED = frozenset({"target", "__pycache__", ".pytest_cache"})


@dataclass(frozen=True)
class Workspace:
    """A Cargo workspace of one plugin, and what its builds depend on."""

    plugin: str
    folder: Path

    def crates(self) -> list[Path]:
        """Folders of the crates that become wheels."""
        found = [self.folder, *sorted(path for path in self.folder.iterdir() if path.is_dir())]
        return [path for path in found if (path / "pyproject.toml").is_file() and (path / "Cargo.toml").is_file()]

    def toolchain_key(self, rustc: str) -> str:
        """Digest of what makes compiled dependencies differ: lock file, compiler and flags."""
        names = ("Cargo.lock", ".cargo/config.toml")
        parts = [(self.folder / name).read_bytes() for name in names if (self.folder / name).is_file()]
        flags = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if "RUSTFLAGS" in name]
        return digest(rustc.encode(), *parts, *(flag.encode() for flag in flags))

    def source_key(self) -> str:
        """Digest of all files of the workspace, and of the crates beside it that it uses by path."""
        folders = {self.folder}
        pending = [self.folder]
        while pending:
            for manifest in [path for path in files(pending.pop()) if path.name == "Cargo.toml"]:
                for used in path_dependencies(manifest):
                    if not any(used.is_relative_to(folder) for folder in folders):
                        folders.add(used)
                        pending.append(used)
        base = self.folder.parent
        listed = sorted({(os.path.relpath(path, base), path) for folder in folders for path in files(folder)})
        return digest(*(part for name, path in listed for part in (name.encode(), path.read_bytes())))


def digest(*parts: bytes) -> str:
    """Name for these parts, in this order."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:20]


def files(folder: Path) -> Iterator[Path]:
    """All files of a folder that its authors wrote."""
    for path in sorted(folder.iterdir()):
        if path.name in IGNORED or path.is_symlink():
            continue
        if path.is_dir():
            yield from files(path)
        elif path.suffix != ".so":
            yield path


def path_dependencies(manifest: Path) -> list[Path]:
    """Folders of the crates that a manifest names by path."""
    content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    tables = [content, content.get("workspace", {}), *content.get("target", {}).values()]
    kinds = ("dependencies", "dev-dependencies", "build-dependencies")
    used = [entry for table in tables for kind in kinds for entry in table.get(kind, {}).values()]
    return [
        (manifest.parent / entry["path"]).resolve() for entry in used if isinstance(entry, dict) and "path" in entry
    ]


def workspaces(root: Path) -> list[Workspace]:
    """The Cargo workspaces of all plugins."""
    manifests = sorted([*root.glob("plugins/*/native/Cargo.toml"), *root.glob("plugins/*/native/*/Cargo.toml")])
    return [
        Workspace(manifest.relative_to(root).parts[1], manifest.parent)
        for manifest in manifests
        if "workspace" in tomllib.loads(manifest.read_text(encoding="utf-8"))
    ]


def cache_folder() -> Path:
    """Where builds are kept: outside the clone, for all clones of one user."""
    if chosen := os.environ.get("BALANCE_BUILD_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "balance"


def build(workspace: Workspace, crate: Path, rustc: str, cache: Path) -> Path:
    """The crate's wheel, from the cache or newly built; RuntimeError says why there is none."""
    toolchain = workspace.toolchain_key(rustc)
    name = tomllib.loads((crate / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    wheels = cache / "wheels" / f"{name}-{digest(toolchain.encode(), workspace.source_key().encode())}"
    if found := sorted(wheels.glob("*.whl")):
        return found[0]
    target = cache / "target" / f"{workspace.plugin}-{workspace.folder.name}-{toolchain}"
    target.mkdir(parents=True, exist_ok=True)
    wheels.parent.mkdir(parents=True, exist_ok=True)
    log = target / f"{name}.log"
    print(f"building {name} (minutes when its dependencies are new; log: {log})", flush=True)
    with tempfile.TemporaryDirectory(dir=wheels.parent) as scratch, log.open("w", encoding="utf-8") as out:
        if (workspace.folder / "prepare.py").is_file():
            run([sys.executable, workspace.folder / "prepare.py", target], workspace.folder, target, out)
        command = [maturin() or "maturin", "build", "--release", "--locked", "--auditwheel", "skip"]
        run([*command, "--manifest-path", crate / "Cargo.toml", "--out", scratch], workspace.folder, target, out)
        wheels.mkdir(exist_ok=True)
        for wheel in Path(scratch).glob("*.whl"):
            wheel.replace(wheels / wheel.name)
    return next(wheels.glob("*.whl"))


def run(command: list[str | Path], folder: Path, target: Path, log: TextIO) -> None:
    """Run a step of a build; its failure is a RuntimeError with the first line of the log that names an error."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "PYO3_PYTHON": sys.executable}
    result = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        lines = [line.strip() for line in Path(log.name).read_text(encoding="utf-8").splitlines()]
        telling = next((line for line in lines if line.lower().startswith("error")), "it failed")
        raise RuntimeError(f"{telling} (log: {log.name})")


def installed_digest(name: str) -> str | None:
    """SHA-256 of the wheel file from which this Python installed a distribution."""
    try:
        text = importlib.metadata.distribution(name).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    hashes = json.loads(text or "{}").get("archive_info", {}).get("hashes", {})
    return str(hashes["sha256"]) if "sha256" in hashes else None


def install(wheel: Path) -> bool:
    """Install a wheel unless it is installed; whether it had to be."""
    name = wheel.name.partition("-")[0]
    if installed_digest(name) == hashlib.sha256(wheel.read_bytes()).hexdigest():
        return False
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--force-reinstall"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return True


def maturin() -> str | None:
    """The maturin of this Python's environment, or else the user's."""
    return shutil.which("maturin", path=sysconfig.get_path("scripts")) or shutil.which("maturin")


def why_impossible() -> str | None:
    """What is missing on this machine to build at all."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        return "cargo is missing: install Rust 1.95 or newer (rustup), then say make again"
    if maturin() is None:
        return f"maturin is missing: {sys.executable} -m pip install maturin"
    return None


def main(root: Path = ROOT) -> int:
    """Build and install; the exit status."""
    required = {name.strip() for name in os.environ.get("BALANCE_REQUIRE", "").split(",")}
    failed: dict[str, str] = {}
    missing = why_impossible()
    rustc = "" if missing else subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout  # noqa: S607 - the user's compiler
    for workspace in workspaces(root):
        for crate in workspace.crates():
            if missing:
                failed.setdefault(workspace.plugin, missing)
                continue
            try:
                wheel = build(workspace, crate, rustc, cache_folder())
                print(f"{'installed' if install(wheel) else 'up to date:'} {wheel.name}")
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                failed.setdefault(workspace.plugin, f"{crate.name}: {error}")
    for plugin, reason in failed.items():
        print(f"{'error' if plugin in required else 'note'}: {plugin} has no native part: {reason}", file=sys.stderr)
    return int(any(plugin in required for plugin in failed))


if __name__ == "__main__":
    sys.exit(main())
