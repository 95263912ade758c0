"""The clients: one that blocks and one that awaits, over the same procedures.

with Client("https://provider.example", registration="3f2a...") as client:
    answer = client.ask(x, proof="now")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar

from typing_extensions import override

from balance_core import registry
from balance_core.closing import Closing
from balance_core.errors import ConfigError, ToolNotFound
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.service.client.book import Book
from balance_core.service.client.checking import Checker
from balance_core.service.client.consumer import Consumer
from balance_core.service.client.pinning import Pinning, Wanted
from balance_core.service.client.steps import carry_out, carry_out_async
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    import httpx
    from typing_extensions import Unpack

    from balance_core.contracts import ChainAdapter, Storage
    from balance_core.records import Registration
    from balance_core.service.audit.conduct import AuditTerms
    from balance_core.service.audit.file import AuditFile
    from balance_core.service.client.asking import Answer
    from balance_core.service.client.book import Pin
    from balance_core.service.client.steps import Steps
    from balance_core.service.receipts import ProofMode
    from balance_core.stages import Limits

T = TypeVar("T")

BOOK_FILE = "receipts.jsonl"
DEFAULT_SECONDS = 30.0


class Trust(TypedDict, total=False):
    """What a client relies on, and where it keeps what it gets; all are optional."""

    model: str | None
    """The model's name; by default the provider's only one."""
    registration: Registration | Path | str | None
    """What is relied on: the record, its id, or a file of either. By default what the provider names, if it is on the
    chain; later uses of the same address then accept nothing but it and its later versions."""
    chain: str | ChainAdapter | None
    """Who vouches for the registration; None where the registration itself is given."""
    chain_settings: Mapping[str, Any]
    storage: str | Storage | None
    """Where bundles are looked for before the provider is asked."""
    storage_settings: Mapping[str, Any]
    book: Path | None
    """The file of receipts and pins; by default in the data folder."""
    key: str
    """The name of the key that heads and plans are signed with."""
    api_key: str | None
    """What the provider gave to be let in."""
    limits: Limits | None
    """What checking proofs may take."""
    seconds: float
    """How long one call may take, waiting for a busy provider included."""


def _consumer(url: str, options: Trust) -> Consumer:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url[:100]!r} is no address of a provider", hint="for example https://provider.example")
    workspace = Workspace.default()
    store = KeyStore(workspace.keys)
    name = options.get("key", DEFAULT_KEY)
    key = store.default() if name == DEFAULT_KEY else store.load(name)
    book = Book(options.get("book") or workspace.root / BOOK_FILE)
    storage = options.get("storage")
    if isinstance(storage, str):
        storage = registry.create("storage", storage, options.get("storage_settings"))
    api_key = options.get("api_key")
    return Consumer(
        url=url.rstrip("/"),
        model=options.get("model"),
        wanted=Wanted.of(options.get("registration")),
        pinning=Pinning(
            chain=options.get("chain", "ledger"), chain_settings=options.get("chain_settings"), book=book, key=key
        ),
        book=book,
        checker=Checker(options.get("limits")),
        key=key,
        storage=storage,
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        patience=options.get("seconds", DEFAULT_SECONDS),
    )


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise ToolNotFound(
            "httpx is not installed, which clients speak with", hint="pip install 'balance-core[service]'"
        ) from error
    return httpx


class Client(Closing):
    """Asks a provider's model, and believes nothing that it did not check itself; close it, or use it with `with`.

    The registration is pinned from the chain before the first request; each answer's receipt is checked and kept,
    and so is the head of a chain that its owner could rewrite. Raises InvalidProof for whatever does not fit,
    Rejected and ChainError as the chain does, and ProviderError for a provider that does not do its part.
    """

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None, **options: Unpack[Trust]) -> None:
        self.consumer = _consumer(url, options)
        self._http: httpx.Client = _httpx().Client(
            base_url=self.consumer.url, transport=transport, follow_redirects=False
        )

    @override
    def close(self) -> None:
        """Close the connections and stop what still checks."""
        self._http.close()
        self.consumer.checker.close()

    def pin(self) -> Pin:
        """Return the registration that is relied on, and under which head."""
        return self.carry_out(self.consumer.begin())

    def ask(self, inputs: Any, *, proof: ProofMode = "none", private: bool | None = None) -> Answer:
        """Ask one question: an array, or arrays by name. With proof `now` it returns when the proof was checked.

        `private` says that a proof must hide the input, or must show it; by default it is as the registration has it.
        """
        return self.carry_out(self.consumer.ask(inputs, proof=proof, private=private))

    def prove(self, answer: Answer, *, seconds: float | None = None) -> Answer:
        """Return an answer with its proof, which is ordered if none was promised; waits as long as it takes."""
        return self.carry_out(self.consumer.prove(answer, seconds=seconds))

    def audit(self, inputs: Any, labels: Any, terms: AuditTerms | None = None) -> AuditFile:
        """Have a test set answered and proven, all of it or a sample that neither side chose; see `conduct`."""
        from balance_core.service.audit.conduct import AuditTerms, conduct

        return self.carry_out(conduct(self.consumer, inputs, labels, terms or AuditTerms()))

    def carry_out(self, steps: Steps[T]) -> T:
        """Carry out a procedure of `consumer`."""
        return carry_out(steps, self._http)


class AsyncClient:
    """The same as `Client`, for an event loop; nothing blocks it."""

    def __init__(
        self, url: str, *, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[Trust]
    ) -> None:
        self.consumer = _consumer(url, options)
        self._http: httpx.AsyncClient = _httpx().AsyncClient(
            base_url=self.consumer.url, transport=transport, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections and stop what still checks."""
        await self._http.aclose()
        self.consumer.checker.close()

    async def pin(self) -> Pin:
        """Return the registration that is relied on, and under which head."""
        return await self.carry_out(self.consumer.begin())

    async def ask(self, inputs: Any, *, proof: ProofMode = "none", private: bool | None = None) -> Answer:
        """Ask one question: an array, or arrays by name. With proof `now` it returns when the proof was checked.

        `private` says that a proof must hide the input, or must show it; by default it is as the registration has it.
        """
        return await self.carry_out(self.consumer.ask(inputs, proof=proof, private=private))

    async def prove(self, answer: Answer, *, seconds: float | None = None) -> Answer:
        """Return an answer with its proof, which is ordered if none was promised; waits as long as it takes."""
        return await self.carry_out(self.consumer.prove(answer, seconds=seconds))

    async def audit(self, inputs: Any, labels: Any, terms: AuditTerms | None = None) -> AuditFile:
        """Have a test set answered and proven, all of it or a sample that neither side chose; see `conduct`."""
        from balance_core.service.audit.conduct import AuditTerms, conduct

        return await self.carry_out(conduct(self.consumer, inputs, labels, terms or AuditTerms()))

    async def carry_out(self, steps: Steps[T]) -> T:
        """Carry out a procedure of `consumer`."""
        return await carry_out_async(steps, self._http)
