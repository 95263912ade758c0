"""A backend whose check does a known amount of work, or holds known memory and notes what the kernel says of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from compare_mock import MockBackend
from pydantic import Field

from balance_core.settings import Settings
from balance_core.stages import Support

HOLD = """
import pathlib, subprocess, sys, time
code, megabytes, depth, note = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if depth:
    subprocess.run([sys.executable, "-c", code, code, str(megabytes), str(depth - 1), note], check=True)
else:
    kept = b"x" * (megabytes << 20)
    del kept  # what counts is the high-water mark
    time.sleep(0.3)
status = pathlib.Path("/proc/self/status").read_text()
with open(note, "a") as out:
    out.write(status.partition("VmHWM:")[2].split()[0] + chr(10))
"""


class MeasuredSettings(Settings):
    does: str = Field("burn", description="burn or hold")
    seconds: float = Field(1.0, description="of processor time, half of it in a child")
    megabytes: int = Field(100, description="to hold")
    below: int = Field(0, description="how many processes below the worker hold it")
    note: str = Field("", description="the file for the kernel's high-water marks, in KiB")


class Measured(MockBackend):
    settings_class = MeasuredSettings

    def check(self, _model):
        getattr(self, self.settings.does)()
        return Support()

    def burn(self):
        half = self.settings.seconds / 2
        code = f"import time\nwhile time.process_time() < {half}: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        end = time.process_time() + half
        while time.process_time() < end:
            pass

    def hold(self):
        given = self.settings
        if given.below:
            arguments = [HOLD, str(given.megabytes), str(given.below - 1), given.note]
            subprocess.run([sys.executable, "-c", HOLD, *arguments], check=True)
        else:
            kept = b"x" * (given.megabytes << 20)
            del kept
        mine = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
        with Path(given.note).open("a") as out:
            out.write(f"{mine}\n")
