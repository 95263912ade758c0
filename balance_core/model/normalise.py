"""Bring any legal model into the one form that backends have to understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from balance_core.errors import ConfigError
from balance_core.model import functions
from balance_core.model.draft import Draft
from balance_core.model.graph import printable
from balance_core.model.passes import batchnorm, defaults, dimensions, drop, fold, labels, plain, refuse, upgrade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto


def normalise(proto: ModelProto, sizes: Mapping[str, int] | None = None) -> ModelProto:
    """Return an equivalent model in normal form.

    All shapes are fixed (batch = 1 unless `sizes` says otherwise), constants and shape arithmetic are folded,
    functions inlined, default attributes written out, idle nodes dropped, batch normalisation is fused into the layer
    before it, scores are tensors and string labels are class numbers. Deterministic, and idempotent to the byte.
    Raises ConfigError or UnsupportedModel.
    """
    draft = Draft.of(functions.inlined(proto))
    dimensions.fix(draft, sizes or {})
    drop.maps(draft)
    labels.number(draft)
    fold.fold(draft)
    refuse.unsupported(draft)
    return finish(upgrade.upgrade(draft))


def finish(draft: Draft) -> ModelProto:
    """Run the passes that follow any rewriting, and check the result against the definitions of ONNX."""
    fold.fold(draft)
    plain.write_out(draft)
    drop.idle(draft)
    batchnorm.fuse(draft)
    defaults.write_out(draft)
    fold.fold(draft)
    refuse.unsupported(draft)
    refuse.too_large(draft)
    upgrade.relax(draft)
    proto = draft.proto()
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ConfigError(f"the model is not valid: {printable(str(error).splitlines()[0])}") from error
    return proto
