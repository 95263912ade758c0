"""The one door to a node: each call has a time limit, waits for a node that is away, and fails with a typed error."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from balance_core.errors import ChainError, ChainUnreachable, ConfigError

if TYPE_CHECKING:
    from web3 import HTTPProvider

MAX_ANSWER_BYTES = 256 * 2**20
"""Longest answer that is read."""
_ANSWER_TIMES = 6
"""How many times the limit of a single reading an answer may take as a whole."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_OVERLOADED = frozenset({-32005, -32016, -32097})
"""JSON-RPC codes by which public nodes say `too many requests`."""


class RpcRefused(ChainError):
    """The node answered with an error; `code` and `data` are its own."""

    def __init__(self, message: str, *, code: int = 0, data: Any = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.data = data


class Rpc:
    """JSON-RPC calls to one node."""

    def __init__(self, url: str, *, timeout: float, patience: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{url[:80]!r} is not a node's address", hint="for example: -o chain.rpc_url=http://127.0.0.1:8545"
            )
        self.url, self.timeout, self.patience = url, timeout, patience

    @cached_property
    def _provider(self) -> HTTPProvider:
        from web3 import HTTPProvider

        from balance_evm.limited import session

        # Retrying is done here, where it is known how long the user is ready to wait.
        options = {"timeout": self.timeout, "allow_redirects": False}
        limited = session(max_bytes=MAX_ANSWER_BYTES, seconds=_ANSWER_TIMES * self.timeout)
        return HTTPProvider(self.url, request_kwargs=options, session=limited, exception_retry_configuration=None)

    @property
    def name(self) -> str:
        """The address as it may be shown: without what may be a secret in its path or query."""
        scheme, _, rest = self.url.partition("://")
        host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
        return f"{scheme}://{host}"

    def call(self, method: str, *params: Any, patience: float | None = None) -> Any:
        """Return the result; raises RpcRefused for the node's own errors, ChainUnreachable where none came in time.

        Every call here may be repeated: even a signed transaction is the same one when it is sent twice.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause = _FIRST_PAUSE
        while True:
            failure = None
            try:
                answer = self._ask(method, params)
            except _Away as error:
                failure = str(error)
            if failure is None:
                return _result(method, answer)
            if time.monotonic() + pause > deadline:
                raise ChainUnreachable(
                    f"the node {self.name} does not answer: {failure}",
                    hint="start it (`balance evm dev` for a local one), or give another: -o chain.rpc_url=URL",
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _ask(self, method: Any, params: tuple[Any, ...]) -> Any:
        import requests

        try:
            answer = self._provider.make_request(method, list(params))
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in _RETRIED_STATUS:
                raise _Away(f"HTTP status {status}") from None
            hint = "check its address and its key" if status in {401, 403} else None
            raise ChainError(f"the node {self.name} refuses calls: HTTP status {status}", hint=hint) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise ConfigError(f"{self.name!r} is not a node's address: {type(error).__name__}") from None
        except requests.exceptions.SSLError:
            raise ChainUnreachable(
                f"the node {self.name} has no valid TLS certificate", hint="check the address"
            ) from None
        except requests.exceptions.Timeout:
            raise _Away(f"no answer within {self.timeout:g} s") from None
        except requests.exceptions.RequestException as error:
            raise _Away(_reason(error)) from None
        except ValueError:
            raise _Away("it does not speak JSON-RPC") from None
        if not isinstance(answer, dict):
            raise _Away("it does not speak JSON-RPC")
        said = answer.get("error")
        if isinstance(said, dict) and said.get("code") in _OVERLOADED:
            raise _Away(f"it is overloaded: {str(said.get('message'))[:100]}")
        return answer


class _Away(Exception):
    """The node did not answer; asking again may help."""


def _reason(error: BaseException) -> str:
    """Return why a connection failed, without the request's address, which may hold a key."""
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "Connection reset", "Remote end closed"):
        if known in text:
            return known.lower()
    return type(error).__name__


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise ChainError(f"the node answered {method} without a result")
        return answer["result"]
    if not isinstance(error, dict):
        raise RpcRefused(f"{method}: {str(error)[:200]}")
    code = error.get("code")
    message = " ".join(str(error.get("message", "")).split())[:300]
    raise RpcRefused(f"{method}: {message}", code=code if isinstance(code, int) else 0, data=error.get("data"))


def quantity(value: Any) -> int:
    """Read a number as JSON-RPC writes it; raises ChainError for anything else."""
    if isinstance(value, int):
        return value
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise ChainError(f"the node answered {str(value)[:40]!r} where a number was expected") from None
