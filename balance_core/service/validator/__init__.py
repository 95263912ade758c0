"""Validators: they check what is published on a chain, and say of each proof what they found."""

from __future__ import annotations

from balance_core.service.validator.reasons import Reason, State
from balance_core.service.validator.settings import Course, ValidatorSettings
from balance_core.service.validator.status import Disagreement, ValidatorStatus
from balance_core.service.validator.validator import Validator

__all__ = ["Course", "Disagreement", "Reason", "State", "Validator", "ValidatorSettings", "ValidatorStatus"]
