"""Every error that Balance raises on purpose, with the exit code that the command line gives it.

    BalanceError
    ├ InvalidProof             1   it ran, and the proof does not verify: why
    ├ ConfigError              2   bad flag, bad settings, bad file
    ├ PluginError              3
    │ ├ PluginNotFound             no distribution brings a plugin of that name
    │ ├ PluginLoadError            it is installed and does not import
    │ ├ PluginConflict             two distributions bring the same name
    │ └ PluginIncompatible         it speaks another version of the contracts
    ├ UnsupportedModel         4   every offending node by name, and what would mend it
    ├ StageError               5
    │ ├ ToolNotFound               a program or library that the stage needs is missing
    │ ├ ToolFailed                 the tool ran and failed: its last words
    │ ├ StageTimeout               the time limit was reached
    │ ├ StageOutOfMemory           the memory limit was reached, or would be
    │ └ Busy                       more is waiting than may: when to come again
    ├ StorageError             6
    │ ├ BlobNotFound               the store does not hold this content
    │ ├ ContentTooLarge            there is more of it than the caller allows
    │ ├ ContentMismatch            bytes came back that do not hash to their address
    │ └ StorageUnreachable         the store did not answer
    ├ ChainError               7
    │ ├ Rejected                   the chain refused the record: why
    │ ├ Reverted                   it was accepted and later undone
    │ └ ChainUnreachable           the chain did not answer
    └ ProviderError            8
      ├ ProviderUnreachable        the provider did not answer, or not in time, or not what the protocol says
      └ Refused                    it answered that it will not: its words

One base class stands for each `except` clause that a user would write. Every error carries a message of one line
and, where there is one, a hint that says what to type next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_CRASH = 70
"""Exit code of an error that is Balance's own fault (EX_SOFTWARE of sysexits.h)."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C (128 + SIGINT)."""


class BalanceError(Exception):
    """The base of all errors raised on purpose; `hint` says what would mend it."""

    exit_code: ClassVar[int] = EXIT_CRASH
    usual_hint: ClassVar[str | None] = None
    """What mends most errors of this kind, for those that know nothing better."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(kind: type[BalanceError], args: tuple[object, ...], state: dict[str, object]) -> BalanceError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidProof(BalanceError):
    """The proof was checked and does not prove what it should."""

    exit_code = 1
    usual_hint = "do not rely on the answer; ask its provider for another proof"


class ConfigError(BalanceError):
    """The user gave a flag, a setting or a file that cannot be used."""

    exit_code = 2
    usual_hint = "the command's --help has an example of what it takes"


class PluginError(BalanceError):
    """A plugin cannot be used; the others still can."""

    exit_code = 3
    usual_hint = "`balance doctor` says what is installed and what is missing"


class PluginNotFound(PluginError):
    """No installed distribution brings a plugin of this name."""


class PluginLoadError(PluginError):
    """The plugin is installed and does not load; the original error is the cause."""


class PluginConflict(PluginError):
    """Two distributions bring a plugin of the same name."""


class PluginIncompatible(PluginError):
    """The plugin speaks another version of the contracts than this core."""


class NodeIssue(NamedTuple):
    """One node that a backend or converter cannot take: which, why, and what would mend it."""

    node: str
    operator: str
    reason: str
    mend: str | None = None

    def __str__(self) -> str:
        mend = f" ({self.mend})" if self.mend else ""
        return f"{self.node} [{self.operator}]: {self.reason}{mend}"


class UnsupportedModel(BalanceError):
    """The model holds something that cannot be taken; `issues` names every offending node."""

    exit_code = 4
    usual_hint = "export the model without these nodes, or ask what would mend them"

    def __init__(self, message: str, *, issues: Iterable[NodeIssue] = (), hint: str | None = None) -> None:
        self.issues = tuple(NodeIssue(*issue) for issue in issues)
        super().__init__("; ".join([message, *map(str, self.issues)]), hint=hint)


class StageError(BalanceError):
    """A stage of the pipeline did not finish."""

    exit_code = 5
    usual_hint = "`balance doctor` says what is missing; --debug shows more"


class ToolNotFound(StageError):
    """A program or library that the stage needs is not installed."""


class ToolFailed(StageError):
    """The proof system's own tool failed; the message holds its last words."""


class StageTimeout(StageError):
    """The stage reached its time limit and was stopped."""


class StageOutOfMemory(StageError):
    """The stage reached its memory limit, or was refused because it would."""


class Busy(StageError):
    """More work is waiting than may; nothing was accepted. `retry_after` says in how many seconds to ask again."""

    usual_hint = "ask again later, or ask for fewer proofs"

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class StorageError(BalanceError):
    """A store could not keep or return content."""

    exit_code = 6
    usual_hint = "`balance doctor` says which stores are ready"


class BlobNotFound(StorageError):
    """The store does not hold the content asked for."""


class ContentTooLarge(StorageError):
    """The content has more bytes than the caller allows."""


class ContentMismatch(StorageError):
    """The bytes do not hash to the address that they were asked for by."""


class StorageUnreachable(StorageError):
    """The store did not answer."""


class ChainError(BalanceError):
    """A chain could not order or return a record."""

    exit_code = 7
    usual_hint = "`balance doctor` says which chains are ready"


class Rejected(ChainError):
    """The chain refused the record."""


class Reverted(ChainError):
    """The record was accepted and later undone."""


class ChainUnreachable(ChainError):
    """The chain did not answer."""


class ProviderError(BalanceError):
    """A provider did not do what it was asked over the network."""

    exit_code = 8
    usual_hint = "try again later, or ask the provider what is wrong"


class ProviderUnreachable(ProviderError):
    """The provider did not answer, or not in time, or with something that the protocol does not know."""


class Refused(ProviderError):
    """The provider answered that it will not; the message holds its words, which are nobody else's."""

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
