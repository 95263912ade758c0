"""The interfaces of the contracts that this plugin brings."""

from __future__ import annotations

from functools import cache

from balance_evm.abi import Interface


@cache
def interface(name: str) -> Interface:
    """Return a contract's interface, from its compiled form."""
    from balance_evm.artifacts import artifact

    return Interface(artifact(name).abi)


def registry() -> Interface:
    """Return that of the registry, with the errors of verifiers."""
    return interface("BalanceRegistry")


def verifier() -> Interface:
    """Return that of a verifier's adapter."""
    return interface("EzklReusable")
