"""A backend that proves nothing: what it does in its `check` stage tells how an executor treats a stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydantic import Field

from balance_core.contracts import ProofBackend
from balance_core.errors import ConfigError, InvalidProof, NodeIssue, StageError, ToolFailed, UnsupportedModel
from balance_core.settings import Settings
from balance_core.stages import Capabilities, Support

if TYPE_CHECKING:
    from balance_core.model import Model

NAME = "kit-probe"
"""The name under which the kit makes it known to the stages' processes."""
WORDS = "the probe was here"
"""What it writes to its standard output."""


class Panic(BaseException):
    """What native code may raise, outside of Exception."""


class ProbeSettings(Settings):
    """What the probe does."""

    does: str = Field(default="nothing", description="what the stage does: the name of a method, without its dash")
    seconds: float = Field(default=600.0, description="how long it sleeps")
    megabytes: int = Field(default=0, description="how much memory it holds")
    note: str = Field(default="", description="the file in which it notes its processes")


class Probe(ProofBackend):
    """Does in its `check` stage what its settings say."""

    api_version = 1
    version = "1"
    settings_class = ProbeSettings
    settings: ProbeSettings
    capabilities = Capabilities()

    def check(self, model: Model) -> Support:
        """Do it, and tell where."""
        del model
        os.write(1, f"{WORDS}\n".encode())
        getattr(self, f"_{self.settings.does}")()
        return Support(notes=(str(Path.cwd()), str(os.getpid())))

    def _nothing(self) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise ConfigError("the probe refuses", hint="ask for something else")

    def _invalid(self) -> NoReturn:
        raise InvalidProof("the probe calls it invalid")

    def _unsupported(self) -> NoReturn:
        issue = NodeIssue("node", "Operator", "the reason", "the mend")
        raise UnsupportedModel("the probe supports nothing", issues=[issue])

    def _tool(self) -> NoReturn:
        raise ToolFailed("the probe's tool failed", hint="sharpen it")

    def _crash(self) -> NoReturn:
        raise KeyError("the probe stumbles")

    def _panic(self) -> NoReturn:
        raise Panic("the probe panics")

    def _exit(self) -> NoReturn:
        os._exit(3)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _hold(self) -> None:
        held = bytearray(b"x") * (self.settings.megabytes * 2**20)
        time.sleep(self.settings.seconds)
        del held

    def _sleep(self) -> None:
        time.sleep(self.settings.seconds)

    def _spawn(self) -> None:
        """Start a child in a session of its own, note both processes, and sleep."""
        child = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({self.settings.seconds})"], start_new_session=True
        )
        new = Path(f"{self.settings.note}.new")
        new.write_text(f"{os.getpid()} {child.pid}")
        new.replace(self.settings.note)
        threading.Event().wait(self.settings.seconds)

    def setup(self, *_: object) -> NoReturn:
        """Refuse."""
        raise StageError("the probe sets nothing up")

    def execute(self, *_: object) -> NoReturn:
        """Refuse."""
        raise StageError("the probe answers nothing")

    def prove(self, *_: object) -> NoReturn:
        """Refuse."""
        raise StageError("the probe proves nothing")
