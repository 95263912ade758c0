"""docs/zkml-soundness.md: each condition that it lists is tried by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from .workshop import ROOT

PAGE = (ROOT / "docs" / "zkml-soundness.md").read_text()
TABLE = PAGE.split("| condition |", 1)[1].split("\n\n", 1)[0]


def test_every_condition_of_the_page_names_tests_that_exist():
    written = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", written, re.MULTILINE))
    lines = [line for line in TABLE.splitlines() if line.startswith("| ")]
    assert len(lines) > 15
    for line in lines:
        last = line.rstrip("| ").rpartition("|")[2]
        named = set(re.findall(r"`(test_\w+)`", last))
        assert named or "MockProver" in last or "the same" in last, line
        assert named <= defined, f"{named - defined} is no test"
