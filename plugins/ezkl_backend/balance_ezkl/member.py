"""A member of the crew, `python -m balance_ezkl.member`: a line of JSON in, a line of JSON out.

The first line out says that it is ready. It ends when its input does, so it does not outlive whoever started it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core.errors import ConfigError
from balance_ezkl import answer
from balance_ezkl.tool import EzklFailed, ezkl

if TYPE_CHECKING:
    from typing import TextIO

NO_CONTEXT = bytes(answer.CONTEXT_BYTES)


def serve(requests: TextIO, replies: TextIO) -> None:
    """Say that all is imported, and answer until the requests end."""
    ezkl()
    _reply(replies, {"ready": True})
    for line in requests:
        compiled, inputs, lookup_range = json.loads(line)
        try:
            found = answer.compute(
                Path(compiled), inputs, NO_CONTEXT, lookup_range=lookup_range and tuple(lookup_range)
            )
            _reply(replies, {"outputs": found.outputs, "lookups": found.lookups})
        except EzklFailed as error:
            _reply(replies, {"failed": error.reason})
        except ConfigError as error:
            _reply(replies, {"error": error.message, "hint": error.hint})


def _reply(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    # What native code prints must not come between the replies.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, own)
