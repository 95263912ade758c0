"""The backend's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from balance_core.integer.settings import ProvingSettings


class Halo2Settings(ProvingSettings):
    """How a model becomes integers, and who may know its weights and inputs."""

    weights: Annotated[
        Literal["private", "public"],
        Field(
            description="private: hidden, bound by the model commitment, and the key is one for all models of a "
            "structure; public: fixed in the key, cheaper to prove, and anybody can learn them from some proofs"
        ),
    ] = "private"
    inputs: Annotated[
        Literal["public", "private"],
        Field(
            description="public: they stand in the statement; private: a hiding commitment does, which "
            "whoever knows the inputs and what blinds them can open"
        ),
    ] = "public"
