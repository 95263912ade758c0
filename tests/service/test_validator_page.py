"""docs/security.md names tests, and docs/validator.md settings: all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from balance_core.service.validator import Reason, ValidatorSettings

ROOT = Path(__file__).resolve().parents[2]
TREES = ("tests", "plugins", "balance_core/testing")


def known_tests():
    files = [path for tree in TREES for path in (ROOT / tree).rglob("*.py") if ".venv" not in path.parts]
    return {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("page", ["security", "validator"])
def test_every_test_that_a_page_names_is_there(page):
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")))
    assert named <= known_tests()
    assert page != "security" or len(named) > 80


def shown(default):
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default == ():
        return "all installed"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_page_of_validators_has_every_setting_with_its_default_and_every_reason():
    page = (ROOT / "docs" / "validator.md").read_text(encoding="utf-8")
    for name, field in ValidatorSettings.model_fields.items():
        row = re.search(rf"^\| `{name}` \| ([^|]*) \|", page.partition("## Settings")[2], re.MULTILINE)
        assert row, name
        assert row[1].strip() == shown(field.default), name
    for reason in Reason:
        assert f"`{reason}`" in page, reason
