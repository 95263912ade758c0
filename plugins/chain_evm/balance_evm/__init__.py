"""Balance on an EVM chain: a registry that orders records and has proofs checked by contracts."""

from __future__ import annotations

import contextlib
import importlib
import sys

NAME = "evm"
"""What entry points, references and vouchers call this chain."""


def _keep_the_interpreters_guard() -> None:
    """Import what web3 brings that lifts the limit of recursion, and put the limit back.

    Without it a deeply nested document of a stranger's ends the process instead of raising RecursionError.
    """
    limit = sys.getrecursionlimit()
    with contextlib.suppress(ImportError):
        importlib.import_module("py_ecc")
    sys.setrecursionlimit(limit)


_keep_the_interpreters_guard()
