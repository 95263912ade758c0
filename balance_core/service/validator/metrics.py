"""What Prometheus reads of a validator: its memory's counts, read when they are asked for, and its requests."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from balance_core import measure
from balance_core.service.validator.reasons import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from balance_core.service.validator.validator import Validator


class ValidatorCounts(Collector):
    """A validator's counts."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    def collect(self) -> Iterator[Metric]:
        """Read the memory, and yield what it says."""
        status, validator = self._validator.status(), self._validator
        proofs = GaugeMetricFamily(
            "balance_validator_proofs", "Proofs by state and reason.", labels=["state", "reason"]
        )
        for tally in status.tallies:
            proofs.add_metric([tally.state, tally.reason or ""], tally.proofs)
        yield proofs
        words = CounterMetricFamily("balance_validator_attested", "Proofs attested.", labels=["valid"])
        for valid in (True, False):
            number = sum(
                one.proofs
                for one in status.tallies
                if one.state is State.ATTESTED and (one.reason == "invalid") is not valid
            )
            words.add_metric([str(valid).lower()], number)
        yield words
        yield from (
            GaugeMetricFamily(f"balance_validator_{name}", meaning, value=value)
            for name, meaning, value in (
                ("waiting", "Proofs to be checked, or to be attested.", status.waiting),
                ("false_words", "Words of others that contradict this validator's.", status.false_words),
                ("equivocations", "Validators that called one proof valid and invalid.", status.equivocations),
                ("stuck_fetches", "Fetches that have not come back.", validator.checker.fetcher.stuck),
                ("ready", "Whether it follows the chain.", int(validator.is_ready)),
                ("behind_seconds", "Time since the chain was read to its newest entry.", _behind(validator)),
                ("peak_memory_bytes", "High-water mark of this process.", measure.memory(os.getpid()).high_water),
            )
        )

    def describe(self) -> list[Metric]:
        """Return nothing: what there is, is read when it is asked for."""
        return []


def _behind(validator: Validator) -> float:
    return max(time.time() - validator.followed, 0.0) if validator.followed else float("inf")
