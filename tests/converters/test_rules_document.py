"""docs/rules.md: its rule sets are read, and its messages are those that are given."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from balance_core.converters.rules.graph import to_onnx
from balance_core.converters.rules.reader import rule_set
from balance_core.errors import ConfigError

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(encoding="utf-8"), re.DOTALL)


def decided(text, **facts):
    rules = rule_set(text.encode(), "doc.yaml")
    session = onnxruntime.InferenceSession(to_onnx(rules).SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {name: np.array(values, dtype=np.int64) for name, values in facts.items()}
    decision, score = session.run(["decision", "score"], inputs)
    return [rules.decisions[n] for n in decision], score.tolist()


def test_every_rule_set_of_the_document_decides_as_its_text_says():
    fever, loan, engine = BLOCKS
    assert decided(fever, temperature=[384, 385, 376, 375], cough=[0, 0, 1, 1])[0] == [
        "home",
        "doctor",
        "doctor",
        "home",
    ]
    assert decided(loan, age=[20, 20, 30, 40, 30], late=[0, 1, 0, 7, 1]) == (
        ["refer", "decline", "approve", "decline", "refer"],
        [77, 57, 90, 46, 70],
    )
    # worn is 0.8: the bearing 0.7 * 0.8; worn is -0.8: the pump 0.9 * 0.8; noise unknown: neither worn nor not
    assert decided(engine, noise=[1000, -1000, 1000, 0], oil=[20, 10, 45, 14]) == (
        ["bearing", "pump", "unknown", "unknown"],
        [560, 720, 0, 0],
    )


def test_the_message_of_the_document_is_the_one_that_is_given():
    text = (
        (ROOT / "examples" / "rules" / "sensors.yaml")
        .read_text(encoding="utf-8")
        .replace("priority: 69", "priority: 70")
    )
    with pytest.raises(ConfigError) as caught:
        rule_set(text.encode(), "sensors.yaml")
    assert f"error: {caught.value.message}" in (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
