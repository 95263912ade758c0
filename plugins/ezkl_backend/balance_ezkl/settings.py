"""The backend's settings: every knob of ezkl that does not change what a proof means."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from balance_core.settings import Settings
from balance_ezkl.circuit import Arguments
from balance_ezkl.key import MAX_BITS, MAX_LOGROWS, MIN_LOGROWS

Bits = Annotated[int, Field(ge=0, le=32)]


_ARGUMENTS = {
    "input_scale": "input_scale",
    "param_scale": "param_scale",
    "scale_rebase_multiplier": "multiplier",
    "decomp_base": "base",
    "decomp_legs": "legs",
    "logrows": "logrows",
    "num_inner_cols": "inner",
    "lookup_range": "lookup_range",
}
"""Each setting that the search may choose, with its name in `Arguments`."""


class EzklSettings(Settings):
    """What to choose and what to leave to the search; None is chosen for you from the samples.

    Visibility is no setting: inputs and outputs are public, and the weights are fixed in the verifying key.
    """

    min_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.99, description="share of the samples on which the circuit must answer as the float model does"
    )
    max_samples: Annotated[int, Field(ge=1)] = Field(
        48, description="how many samples are tried, the hardest ones; all of them once one of these goes wrong"
    )
    input_scale: Bits | None = Field(None, description="bits behind the binary point of inputs")
    param_scale: Bits | None = Field(None, description="bits behind the binary point of weights")
    scale_rebase_multiplier: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="values are cut back once they have this many times the bits of input_scale; more is faster"
    )
    decomp_base: Annotated[int, Field(ge=2, le=2**MAX_LOGROWS)] | None = Field(
        None, description="base of the digits that values are range-checked in; a power of two up to 2^(logrows - 1)"
    )
    decomp_legs: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None, description="number of those digits: values stay below decomp_base^decomp_legs"
    )
    logrows: Annotated[int, Field(ge=MIN_LOGROWS, le=MAX_LOGROWS)] | None = Field(
        None, description="k: the circuit has 2^k rows"
    )
    num_inner_cols: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="columns side by side in each block of the circuit"
    )
    lookup_range: tuple[int, int] | None = Field(
        None, description="smallest and largest input of lookup tables (exp, sigmoid, erf ...)"
    )
    lookup_safety_margin: Annotated[float, Field(ge=1, le=64)] = Field(
        2.0, description="how much wider than the samples need the lookup tables are made"
    )
    headroom_bits: Annotated[int, Field(ge=0, le=16)] = Field(
        2, description="how many more bits than the samples need the range of values has"
    )
    max_logrows: Annotated[int, Field(ge=MIN_LOGROWS, le=MAX_LOGROWS)] = Field(
        MAX_LOGROWS, description="largest k that the search may choose"
    )
    ignore_range_check_inputs_outputs: bool = Field(
        True,
        description="leave the range of public values to Balance's verifier, which checks it at no cost; "
        "turn it off for a verifier that does not, such as ezkl's contract without balance-evm's adapter",
    )
    rebase_frac_zero_constants: bool = Field(False, description="keep whole-number constants at scale 0")
    bounded_log_lookup: bool = Field(False, description="compute logarithms from a bounded table")
    epsilon: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="smallest divisor in divisions and logarithms"
    )
    disable_freivalds: bool = Field(False, description="check products of matrices entry by entry")
    disable_selector_compression: bool = Field(False, description="one column for each selector")
    check_mode: Literal["safe", "unsafe"] = Field(
        "unsafe", description="safe: ezkl checks its witness as it goes; of no matter to who verifies"
    )

    def arguments(self) -> Arguments | None:
        """Return what the search would have to find, or None where some of it is left open."""
        found = {name: getattr(self, setting) for setting, name in _ARGUMENTS.items()}
        return None if None in found.values() else Arguments(**found)

    def with_arguments(self, arguments: Arguments) -> EzklSettings:
        """Return the settings that make the same circuit again without a search."""
        return self.model_copy(update={setting: getattr(arguments, name) for setting, name in _ARGUMENTS.items()})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        base = self.decomp_base
        if base is not None and base & (base - 1):
            raise ValueError("decomp_base must be a power of two")
        if (base or 2) ** (self.decomp_legs or 1) > 2**MAX_BITS:
            raise ValueError(f"decomp_base^decomp_legs must be 2^{MAX_BITS} at most")
        if self.lookup_range is not None and self.lookup_range[0] > self.lookup_range[1]:
            raise ValueError("lookup_range must name the smallest input first")
        return self
