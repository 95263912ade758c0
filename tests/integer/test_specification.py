"""The document is as its code."""

from __future__ import annotations

from pathlib import Path

from balance_core.integer.operations import OPERATIONS
from balance_core.integer.specification import TABLES, operations_table, operators_table, renewed

DOCUMENT = Path(__file__).parents[2] / "docs" / "integer-model.md"


def test_the_generated_tables_are_up_to_date():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"<!-- {name} begin" in text for name in TABLES)
    # If this fails: python -c "from balance_core.integer.specification import renew; ..." (see the document's head)
    assert renewed(text) == text


def test_every_operation_and_operator_is_in_a_table():
    assert operations_table().count("\n") == len(OPERATIONS) + 1
    assert "| LayerNormalization |" in operators_table()
    assert "| ai.onnx.ml:TreeEnsemble |" in operators_table()
