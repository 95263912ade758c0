"""What a user can choose beside the integer model's own settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from balance_core.integer.settings import ProvingSettings


class OrionSettings(ProvingSettings):
    """How a float model becomes integers, and how strong its proofs are."""

    queries: Annotated[
        Literal[70, 140],
        Field(
            description="queries of a proof: 70 give 96 bits under the usual conjecture, 59 proven up to the Johnson "
            "bound; 140 give 100 and 72, with proofs of nearly twice the size"
        ),
    ] = 70
