# ruff: noqa: INP001 - a script that tools/native_wheels.py runs before the build
"""Mends one word of stwo-cairo-common 1.3.0, which does not compile with Rust 1.95, in a copy in the target folder.

`std::simd` renamed `Mask::to_int` to `Mask::to_simd` after that crate, the newest there is, was published. The
published file and the mended one are pinned by digest. Cargo finds the copy by the link `mended` beside this script.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME, VERSION = "stwo-cairo-common", "1.3.0"
CRATE_DIGEST = "eebe81829f8a38646df21c1865d528117f2f5ece765922fa0d9335d0af366b70"
LINK = Path(__file__).resolve().parent / "mended"
SOURCE = Path("src/prover_types/simd.rs")
BEFORE = "a346dd8ad7541d7cd37b9f0805df1596c11cb060072682e535d44f2d5c75446d"
AFTER = "44e82e19de323e5546642569002f2cbf83045ea54dd045304e07bac38a4551db"


def sha256(content: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()


def published() -> Path:
    """The crate as cargo downloaded it; cargo is asked for it where it is not there yet."""
    registry = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "registry" / "cache"
    for fetch in (True, False):
        for crate in sorted(registry.glob(f"*/{NAME}-{VERSION}.crate")):
            if sha256(crate.read_bytes()) == CRATE_DIGEST:
                return crate
        if fetch:
            subprocess.run(["cargo", "info", "--quiet", f"{NAME}@{VERSION}"], check=True)  # noqa: S607 - the user's cargo
    raise SystemExit(f"error: cargo did not download {NAME} {VERSION} as it was published")


def main(target: Path) -> None:
    """Leave the mended crate in the target folder, and the link to it here; what is there already is kept."""
    mended = target / "mended" / f"{NAME}-{VERSION}"
    if not (mended / SOURCE).is_file() or sha256((mended / SOURCE).read_bytes()) != AFTER:
        mended.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=mended.parent) as scratch:
            with tarfile.open(published()) as archive:
                archive.extractall(scratch, filter="data")
            copy = Path(scratch) / mended.name
            text = (copy / SOURCE).read_bytes()
            fixed = text.replace(b".to_int()", b".to_simd()")
            if (sha256(text), sha256(fixed)) != (BEFORE, AFTER):
                raise SystemExit(f"error: {SOURCE} of {NAME} {VERSION} is not the file that this script mends")
            (copy / SOURCE).write_bytes(fixed)
            copy.rename(mended)
    if not (LINK.is_symlink() and LINK.readlink() == mended):
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(mended, target_is_directory=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
