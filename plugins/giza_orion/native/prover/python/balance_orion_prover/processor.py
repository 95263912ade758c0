"""Whether this processor can run the native code, asked before any of it is loaded."""

from __future__ import annotations

import platform
from pathlib import Path

# What compilers mean by x86-64-v3 beyond every 64-bit x86 processor, in the words of Linux (psABI, section 3.1.1).
NEEDED = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "sse4_2", "popcnt"})
CPUINFO = Path("/proc/cpuinfo")


class UnsupportedProcessor(ImportError):
    """This processor lacks instructions that the prover was built with."""


def missing(cpuinfo: str) -> list[str]:
    """Instruction sets that are needed and not among the flags of a `/proc/cpuinfo`, sorted."""
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])
    return sorted(NEEDED - set(flags))


def require_processor() -> None:
    """Raise UnsupportedProcessor where native code would end the process; where nobody can tell, let it try."""
    if platform.machine() not in {"x86_64", "AMD64"} or not CPUINFO.exists():
        return
    if lacking := missing(CPUINFO.read_text(encoding="utf-8", errors="replace")):
        raise UnsupportedProcessor(
            f"balance-orion-prover needs an x86-64-v3 processor (Intel Haswell, AMD Zen, or newer); "
            f"this one lacks {', '.join(lacking)}. The verifier runs on any."
        )
