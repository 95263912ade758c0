"""What a validator may use, how often it tries, and what it says of proofs that prove less than others think."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from balance_core.records import Name
from balance_core.settings import Settings


class Course(StrEnum):
    """What becomes of a judgement: it is said on the chain, or only kept here with its reason."""

    ATTEST = "attest"
    RECORD = "record"


class ValidatorSettings(Settings):
    """Limits and policy of one validator."""

    workers: Annotated[int, Field(ge=1, le=64)] = Field(2, description="how many proofs are worked on at a time")
    poll_seconds: Annotated[float, Field(gt=0)] = Field(2.0, description="how often the chain is asked what is new")
    final_only: bool = Field(True, description="wait until the chain calls a proof's entry final")
    max_bundle_bytes: Annotated[int, Field(ge=1024)] = Field(64 * 2**20, description="largest bundle that is fetched")
    fetch_seconds: Annotated[float, Field(gt=0)] = Field(120.0, description="how long fetching a bundle may take")
    stuck_fetches: Annotated[int, Field(ge=1)] = Field(
        8, description="how many fetches that do not end are left behind before none is begun any more"
    )
    verify_seconds: Annotated[float, Field(gt=0)] = Field(60.0, description="how long checking a proof may take")
    verify_memory: Annotated[int, Field(ge=2**24)] = Field(
        4 * 2**30, description="how many bytes of memory checking a proof may take"
    )
    verify_threads: Annotated[int, Field(ge=1)] = Field(1, description="threads of each check")
    tries: Annotated[int, Field(ge=1)] = Field(8, description="how often what may come right is tried")
    retry_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="the wait before the second try; it doubles"
    )
    longest_retry_seconds: Annotated[float, Field(gt=0)] = Field(3600.0, description="the longest such wait")
    interruptions: Annotated[int, Field(ge=1)] = Field(
        20, description="how often the validator may die with a proof in hand before it leaves it alone"
    )
    backends: tuple[Name, ...] = Field((), description="the only backends that are checked; all that are installed")
    invalid: Course = Field(Course.ATTEST, description="what becomes of a proof that does not verify")
    invalid_per_day: Annotated[int, Field(ge=0)] = Field(
        1000, description="how many proofs of one provider are called invalid on the chain within a day"
    )
    unsound: Course = Field(
        Course.RECORD, description="what becomes of a valid proof whose proof system proves nothing"
    )
    insecure_setup: Course = Field(
        Course.RECORD, description="what becomes of a valid proof under a setup made for tests"
    )

    def wait_after(self, tries: int) -> float:
        """Return how long to wait after so many tries."""
        return min(self.retry_seconds * 2.0 ** min(tries - 1, 40), self.longest_retry_seconds)
