"""What `-o storage.KEY=VALUE` takes for the `ipfs` storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from balance_core.settings import Settings

DEFAULT_RPC = "http://127.0.0.1:5001"
"""Where the RPC of a node on the same machine answers, unless its owner moved it."""


def _checked_url(url: str) -> str:
    """Return a server's URL without a trailing slash."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url[:80]!r} is not an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no password: put it into the environment (see authorization_variable)")
    if parts.query or parts.fragment:
        raise ValueError(f"{url[:80]!r} has more than a server and a path")
    return url.rstrip("/")


def _none(value: Any) -> Any:
    return None if value in ("", "none") else value


def _listed(value: Any) -> Any:
    """Take addresses separated by commas, as a command line has them."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_checked_url)]


class IpfsSettings(Settings):
    """Where the node and the gateways are, and how long to wait for them."""

    rpc_url: Annotated[Url | None, BeforeValidator(_none)] = Field(
        default=DEFAULT_RPC, description="the node's RPC, without /api/v0; `none` to read through gateways alone"
    )
    gateways: Annotated[tuple[Url, ...], BeforeValidator(_listed)] = Field(
        default=(), description="trustless gateways to read from when the node has no answer, separated by commas"
    )
    timeout: float = Field(default=30, gt=0, le=3600, description="seconds to wait for an answer, or for a block")
    pin_timeout: float = Field(
        default=600, gt=0, le=86_400, description="seconds that a node may take to fetch what it is told to pin"
    )
    slowest: int = Field(
        default=64 * 1024, ge=1, description="bytes per second of an upload below which it is given up"
    )
    retries: int = Field(default=2, ge=0, le=10, description="how often a call that broke off is made again")
    allow_redirects: bool = Field(default=False, description="whether a gateway may send a reader elsewhere")
    ca_file: Path | None = Field(default=None, description="certificates to trust in place of the usual ones (PEM)")
    authorization_variable: str = Field(
        default="BALANCE_IPFS_AUTHORIZATION",
        description="the environment variable with the Authorization header for the node's RPC, if it wants one",
    )
