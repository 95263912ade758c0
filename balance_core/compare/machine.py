"""The machine that cells are measured on: what it is, what it is doing, and that one harness has it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import measure
from balance_core.compare.loading import MACHINE_FILE, read_machine, write_record
from balance_core.compare.results import Environment, Machine
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

FEATURES = ("adx", "aes", "asimd", "avx", "avx2", "avx512f", "avx512ifma", "bmi2", "neon", "sha_ni", "sha2", "sve")
"""Instruction sets that provers make use of."""
VARIABLES = ("MALLOC_ARENA_MAX", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""What numerical libraries heed. The harness sets the numbers of threads itself, for every backend alike."""
MEMORY_METHOD = "VmHWM of each live process of the stage's tree, summed, at every poll and at its end"
MEMORY_METHOD_ELSEWHERE = "resident size of each live process of the stage's tree, summed, at every poll"
CPU_METHOD = "wait4 of the stage's worker and of all that it left, its own start excepted"
LOCK_VARIABLE = "BALANCE_COMPARE_LOCK"
"""The environment variable that names another lock file, for machines whose temporary folder is not shared."""


def this_machine(results: Path, name: str | None = None) -> Machine:
    """Return this machine, and see to its machine.json; raises ConfigError where that is of other hardware."""
    found = describe(name)
    path = results / found.name / MACHINE_FILE
    if path.exists():
        before = read_machine(path)
        if _hardware(before) != _hardware(found):
            raise ConfigError(
                f"{str(path)!r} is of another machine: {before.processor}, {before.processors} processors",
                hint="choose another name: --machine NAME",
            )
        if before == found:
            return found
    write_record(path, found)
    return found


def describe(name: str | None = None) -> Machine:
    """Return what this machine is; the name is made of its hardware unless one is given."""
    processor, features = _processor()
    memory = _memory()
    facts = (processor, platform.machine(), measure.processors(), memory >> 28)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:6]
    made = re.sub(r"[^a-z0-9]+", "-", processor.lower()).strip("-")[:36].strip("-")
    import psutil

    return Machine(
        name=name or f"{made or 'machine'}-{measure.processors()}cpu-{round(memory / 2**30)}g-{digest}",
        processor=processor,
        architecture=platform.machine(),
        processors=measure.processors(),
        physical_cores=psutil.cpu_count(logical=False),
        processor_features=features,
        memory_bytes=memory,
        operating_system=_system(),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()).strip(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        balance_core=metadata.version("balance-core"),
        memory_method=MEMORY_METHOD if sys.platform == "linux" else MEMORY_METHOD_ELSEWHERE,
        cpu_method=CPU_METHOD,
    )


def _hardware(machine: Machine) -> tuple[object, ...]:
    return machine.processor, machine.architecture, machine.processors, machine.memory_bytes >> 28


def _processor() -> tuple[str, tuple[str, ...]]:
    """Return the processor's name, and which of the known instruction sets it has."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Model"}:
                name = value.strip()
            elif key.strip() in {"flags", "Features"} and not flags:
                flags = set(value.split())
    return name, tuple(feature for feature in FEATURES if feature in flags)


def _memory() -> int:
    import psutil

    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def _system() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def environment(distribution: str, *, shared: bool = False) -> Environment:
    """Return the software that a backend's distribution stands on, and what the machine is doing now."""
    return Environment(
        versions=versions(distribution),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
        load_average=load_average(),
        free_memory_bytes=measure.available_memory(),
        shared=shared,
    )


def load_average() -> float:
    """Return the load average over one minute."""
    return os.getloadavg()[0]


def versions(distribution: str) -> dict[str, str]:
    """Return the versions of a distribution and of everything installed that it requires, however far away.

    Of its own it has the optional requirements too, a prover's native half among them.
    """
    found: dict[str, str] = {}
    own = _plain(distribution)
    pending = [own, "balance-core"]
    while pending:
        name = _plain(pending.pop())
        if name in found:
            continue
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = installed.version
        for requirement in installed.requires or ():
            if "extra" in requirement.partition(";")[2] and name != own:
                continue
            word = re.match(r"[A-Za-z0-9._-]+", requirement)
            if word:
                pending.append(word.group())
    return dict(sorted(found.items()))


def _plain(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextlib.contextmanager
def alone(*, shared: bool) -> Iterator[bool]:
    """Hold the machine; yields whether another harness is at work on it too.

    Raises ConfigError if there is one, unless `shared` says that this is known.
    """
    path = Path(os.environ.get(LOCK_VARIABLE) or Path(tempfile.gettempdir()) / "balance-compare.lock")
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not shared:
                raise ConfigError(
                    f"another comparison is at work on this machine{_who(handle)}: they spoil each other's times",
                    hint="wait for it, or say --share to run beside it, which every result will tell",
                ) from None
            yield True
            return
        with contextlib.suppress(OSError):  # another user's file can be locked and not written to
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield False
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """Open the lock file without following a link to what is somebody else's."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                f"the lock {str(path)!r} cannot be opened: {error.strerror}", hint=f"name another: {LOCK_VARIABLE}"
            ) from error


def _who(handle: int) -> str:
    with contextlib.suppress(OSError):
        number = os.pread(handle, 20, 0)
        if number.isdigit():
            return f" (process {number.decode()})"
    return ""
