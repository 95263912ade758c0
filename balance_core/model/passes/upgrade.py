"""Bring models to as few opsets as can be, so that backends meet fewer forms of the same operator."""

from __future__ import annotations

import onnx
from onnx import version_converter

from balance_core.model.draft import Draft
from balance_core.model.graph import domain, schema

TARGET_OPSET = 17
"""Models of older opsets are converted to this one, and those of newer ones use this one if they can."""


def upgrade(draft: Draft) -> Draft:
    """Return the model at TARGET_OPSET where ONNX's version converter manages that, else as it is."""
    if draft.versions.get("", TARGET_OPSET) >= TARGET_OPSET:
        return draft
    before = draft.proto()
    try:
        after = version_converter.convert_version(before, TARGET_OPSET)
        onnx.checker.check_model(after)
    except Exception:  # noqa: BLE001  # the converter lacks some operators: then the old opset is supported too
        return draft
    upgraded = Draft.of(after)
    if upgraded.outputs != draft.outputs or upgraded.inputs.keys() != draft.inputs.keys():
        return draft
    upgraded.metadata = draft.metadata
    return upgraded


def relax(draft: Draft) -> None:
    """Import the oldest opset from TARGET_OPSET on under which every node keeps the definition that it has."""
    current = draft.versions.get("", TARGET_OPSET)
    found = (schema(node, draft.versions) for node in draft.nodes if not domain(node.domain))
    needed = [definition.since_version if definition else current for definition in found]
    draft.versions[""] = max([min(TARGET_OPSET, current), *needed])
