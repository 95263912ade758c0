"""The documented format is the one that is written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from balance_core.compare import documenting

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", documenting.FILES)
def test_the_schema_in_the_docs_is_that_of_the_records(name):
    assert (DOCS / name).read_text() == documenting.schemas()[name], f"write it again: {documenting.__name__}"


def test_the_page_documents_every_key():
    text = (DOCS / "results-format.md").read_text()
    assert documenting.page(text) == text, f"write it again: {documenting.__name__}"


def test_no_key_is_without_a_meaning():
    empty = [line for line in documenting.tables().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not empty
