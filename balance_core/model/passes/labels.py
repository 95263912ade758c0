"""Replace class names by class numbers: proofs are about numbers, and the names are kept as metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, TensorProto, helper

from balance_core.model.draft import LABELS_KEY
from balance_core.model.graph import domain
from balance_core.model.ml import DOMAIN, attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.model.draft import Draft

_NAMED_BY = {
    "LinearClassifier": ("classlabels_strings", "classlabels_ints"),
    "SVMClassifier": ("classlabels_strings", "classlabels_ints"),
    "TreeEnsembleClassifier": ("classlabels_strings", "classlabels_int64s"),
    "LabelEncoder": ("values_strings", "values_int64s"),
}
"""The attribute that names the results of an operator, and the one that numbers them."""
_MOVES = frozenset({
    "ArrayFeatureExtractor", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that hand on what their first input holds, unchanged."""


def number(draft: Draft) -> None:
    """Make each string that only names a class the number of that class, 0 upwards in the order of its list.

    An output that held names holds numbers, and `draft.metadata` maps it to the JSON list of the names.
    """
    names: dict[str, tuple[str, ...]] = {}
    for key, tensor in list(draft.constants.items()):
        if tensor.data_type == TensorProto.STRING and _is_only_moved(key, draft):
            names[key] = _texts(tensor.string_data)
            numbers = np.arange(len(tensor.string_data), dtype=np.int64).reshape(tuple(tensor.dims))
            draft.define(key, numbers)
    for position, node in enumerate(draft.nodes):
        texts = _numbered(node, draft)
        if texts is None and node.input and node.input[0] in names and _hands_on(node):
            texts = names[node.input[0]]
            if node.op_type == "Cast":
                draft.nodes[position] = helper.make_node("Identity", node.input, node.output, name=node.name)
        if texts is not None:
            names[node.output[0]] = texts
    for output in draft.outputs:
        if output in names:
            draft.metadata[LABELS_KEY + output] = json.dumps(names[output], ensure_ascii=True)


def _numbered(node: NodeProto, draft: Draft) -> tuple[str, ...] | None:
    """Turn the names in a node's attribute into numbers, and return them; None where it has none or they are read."""
    if domain(node.domain) != DOMAIN or node.op_type not in _NAMED_BY or not node.output:
        return None
    texts_key, numbers_key = _NAMED_BY[node.op_type]
    texts = attributes(node).get(texts_key)
    if not isinstance(texts, list) or not _is_only_moved(node.output[0], draft):
        return None
    kept = [attribute for attribute in node.attribute if attribute.name not in {texts_key, numbers_key}]
    order = list(dict.fromkeys(texts))  # LabelEncoder may give one name to several keys
    numbers = [order.index(text) for text in texts]
    if node.op_type == "LabelEncoder":
        kept = [attribute for attribute in kept if not attribute.name.startswith("default_")]
        default = attributes(node).get("default_string", b"_Unused")
        if default not in order:
            order.append(default)
        kept.append(helper.make_attribute("default_int64", order.index(default)))
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(helper.make_attribute(numbers_key, numbers))
    return _texts(order)


def _texts(values: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for value in values)


def _hands_on(node: NodeProto) -> bool:
    to_text = node.op_type == "Cast" and attributes(node).get("to") == TensorProto.STRING
    return to_text or (node.op_type in _MOVES and domain(node.domain) in {"", DOMAIN})


def _is_only_moved(name: str, draft: Draft) -> bool:
    """Return whether the strings go nowhere but to outputs of the model, through operators that do not read them."""
    waiting, seen = [name], set()
    readers = draft.readers()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        for node in readers.get(value, ()):
            if not _hands_on(node) or value in list(node.input)[1:]:
                return False
            waiting.extend(node.output)
    return True
