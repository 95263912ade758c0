"""Choosing the bits of an integer model from sample inputs, and reporting what the choice costs in accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.integer.executor import execute
from balance_core.integer.lowering.driver import MALFORMED, Lowered, Lowering
from balance_core.integer.lowering.folding import FOLDED
from balance_core.integer.lowering.graph import TooManySamples
from balance_core.integer.lowering.node import INTEGERS
from balance_core.integer.operations import Clamp, Input, Lookup
from balance_core.integer.recipe import AGAIN, Recipe
from balance_core.integer.report import IntegerReport, LayerReport, Quality
from balance_core.integer.settings import IntegerSettings
from balance_core.model import fidelity, ranges, reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from balance_core.integer.model import IntegerModel

LEAST_BITS = 6
"""The smallest budget that the search tries."""
LEAST_WEIGHT_BITS = 8
RANDOM_SAMPLES = 64
MAX_REFERENCE = 2**27
"""Largest number of elements of float intermediates that the report compares."""


@dataclass(frozen=True)
class Calibration:
    """An integer model, the recipe that makes it again without samples, and the report of how it was chosen."""

    model: IntegerModel
    recipe: Recipe
    report: IntegerReport


def lower(
    proto: onnx.ModelProto, samples: Mapping[str, np.ndarray] | None = None, settings: IntegerSettings | None = None
) -> IntegerModel:
    """Return the integer model of a normalised ONNX graph; see `calibrate`."""
    return calibrate(proto, samples, settings).model


def calibrate(
    proto: onnx.ModelProto, samples: Mapping[str, np.ndarray] | None = None, settings: IntegerSettings | None = None
) -> Calibration:
    """Lower a normalised ONNX graph with the least bits that keep the agreement and error asked for.

    `samples` holds arrays of shape (N, *input shape), by input name; without it random inputs are used, and the
    report says so. The same inputs give the same bytes. Raises UnsupportedModel with the node's name for what has no
    integer form.
    """
    settings = settings or IntegerSettings()
    given = samples is not None
    batch = _batch(proto, samples, settings) if samples is not None else random_inputs(proto, settings)
    while True:
        try:
            return _calibrated(proto, batch, settings, random=not given)
        except TooManySamples as error:
            count = len(next(iter(batch.values()))) // 2
            if not count:
                raise UnsupportedModel(f"the model is too large: {error}") from None
            batch = {name: array[:count] for name, array in batch.items()}


def _calibrated(
    proto: onnx.ModelProto, batch: dict[str, np.ndarray], settings: IntegerSettings, *, random: bool
) -> Calibration:
    """Search on these samples."""
    floats: dict[str, np.ndarray] = {}
    tried: list[Quality] = []
    for bits in [settings.bits] if settings.bits else range(LEAST_BITS, settings.max_bits + 1):
        weight_bits = settings.weight_bits or max(bits, LEAST_WEIGHT_BITS)
        lowered = Lowering(
            proto, batch, bits, weight_bits, settings.fixed
        ).run()  # first of all, for it names what is unsupported
        floats = floats or reference.run(proto, batch)
        tried.append(_quality(lowered.model, batch, floats, bits, weight_bits))
        if _suffices(tried[-1], settings):
            break
    report = IntegerReport(
        samples=len(next(iter(batch.values()))),
        random_inputs=random,
        chosen=tried[-1],
        suffices=_suffices(tried[-1], settings),
        tried=tuple(tried),
        mean_bits=mean_bits(lowered),
        structure_digest=lowered.model.structure_digest,
        layers=tuple(_layers(proto, lowered, batch)),
    )
    return Calibration(lowered.model, lowered.recipe, report)


def replay(proto: onnx.ModelProto, recipe: Recipe) -> IntegerModel:
    """Return the integer model of a normalised ONNX graph by a recipe, which may come from anybody.

    The model that the recipe was made of gives the same model again, byte for byte; another one of its architecture
    whose weights keep to the declared ranges gives the same structure. Raises ConfigError that says what does not
    fit, UnsupportedModel for what has no integer form at all.
    """
    try:
        made = Lowering(proto, recipe, recipe.bits, recipe.weight_bits, recipe.fixed).run().model
    except MALFORMED as error:
        raise ConfigError(f"the recipe makes no integer model of this graph ({error})", hint=AGAIN) from error
    if made.structure_digest != recipe.structure:
        reason = "a constant of the structure (a scalar, shape, index or table), a name or the graph differs"
        raise ConfigError(f"the model has not the structure that the recipe names: {reason}", hint=AGAIN)
    return made


def _batch(
    proto: onnx.ModelProto, samples: Mapping[str, np.ndarray], settings: IntegerSettings
) -> dict[str, np.ndarray]:
    names = [info.name for info in _inputs(proto)]
    missing = [name for name in names if name not in samples]
    if missing:
        raise ConfigError(f"the calibration samples lack input {missing[0]}")
    batch = {name: np.asarray(samples[name])[: settings.samples] for name in names}
    if len({len(array) for array in batch.values()}) != 1 or not len(next(iter(batch.values()))):
        raise ConfigError("the calibration samples of the inputs differ in number, or there are none")
    return batch


def _inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    return [info for info in proto.graph.input if info.name not in constants]


def random_inputs(proto: onnx.ModelProto, settings: IntegerSettings) -> dict[str, np.ndarray]:
    """Return uniform inputs in the declared range: reals in [low, high], integers in it and in their type."""
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    batch = {}
    for info in _inputs(proto):
        kind = info.type.tensor_type.elem_type
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if min(shape, default=1) < 1 or int(np.prod(shape)) > 2**24:
            raise UnsupportedModel(f"input {info.name} has no fixed shape", hint="give calibration samples")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        unit = generator.random((RANDOM_SAMPLES, *shape))
        low, high = ranges.declared(proto, info.name) or (settings.low, settings.high)
        values = low + unit * (high - low)
        if kind in INTEGERS:
            values = np.rint(values)
        batch[info.name] = values.astype(dtype)
    return batch


def _suffices(quality: Quality, settings: IntegerSettings) -> bool:
    agrees = quality.agreement is None or quality.agreement >= settings.min_agreement
    return agrees and quality.relative_error <= settings.max_error


def _quality(
    model: IntegerModel,
    batch: Mapping[str, np.ndarray],
    floats: Mapping[str, np.ndarray],
    bits: int,
    weight_bits: int,
) -> Quality:
    """Compare the integer model's answers with the float model's."""
    reals = execute(model, batch).reals
    count = len(next(iter(floats.values())))
    proven = [{name: reals[name][i] for name in floats} for i in range(count)]
    measured = fidelity.measure(floats, proven)
    relative = 0.0
    for output in measured.outputs:
        expected = floats[output.name]
        if expected.dtype.kind == "f":
            span = float(expected.max()) - float(expected.min())
            relative = max(relative, output.largest_error / (span or 1.0))
    return Quality(
        bits=bits,
        weight_bits=weight_bits,
        agreement=measured.top1_agreement,
        relative_error=relative,
        largest_errors={output.name: output.largest_error for output in measured.outputs},
    )


def mean_bits(lowered: Lowered) -> float:
    """Return the mean bits of an activation, over all elements.

    Activations are what layers hand on: inputs, tensors narrowed for their readers, results of tables, and outputs;
    accumulators within a layer are not.
    """
    model = lowered.model
    chosen = {place.tensor for place in lowered.narrow.values()} | {output.tensor for output in model.outputs}
    chosen |= {i for i, node in enumerate(model.nodes) if isinstance(node.operation, (Input, Lookup))}
    facts = [model.facts[i] for i in sorted(chosen)]
    return sum(fact.bits * fact.size for fact in facts) / sum(fact.size for fact in facts)


def _layers(proto: onnx.ModelProto, lowered: Lowered, batch: Mapping[str, np.ndarray]) -> Iterable[LayerReport]:
    """Compare every ONNX tensor that the integer model holds with the float model's."""
    floats = _intermediates(proto, lowered, batch)
    tensors = execute(lowered.model, batch, intermediates=True).tensors
    for node in proto.graph.node:
        if node.op_type in FOLDED:
            continue
        for name in node.output:
            place = lowered.narrow.get(name) or lowered.wide.get(name)
            if place is None:
                continue
            fact = lowered.model.facts[place.tensor]
            integers = tensors[place.tensor]
            expected = floats.get(name)
            error = None
            if expected is not None and expected.dtype.kind in "fiub":
                error = float(fidelity.difference(expected, _spread(integers, expected) * float(place.scale)).max())
            yield LayerReport(
                tensor=name[:256],
                operator=node.op_type,
                shape=fact.shape,
                low=float(integers.min() * place.scale),
                high=float(integers.max() * place.scale),
                scale=f"{place.scale.numerator}/{place.scale.denominator}",
                bits=fact.bits,
                largest_error=error,
                saturated=_saturated(lowered.model, tensors, place.tensor),
            )


def _spread(integers: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(integers, (like.shape[0], *integers.shape[1:])).reshape(like.shape)


def _saturated(model: IntegerModel, tensors: Mapping[int, np.ndarray], place: int) -> float:
    """Return the share of values that a clamp changed."""
    node = model.nodes[place]
    if not isinstance(node.operation, Clamp):
        return 0.0
    before = tensors[node.inputs[0]]
    low = (
        node.operation.lo if node.operation.lo < 0 else model.facts[node.inputs[0]].lo
    )  # a Relu's end at 0 is no loss
    return float(((before < low) | (before > node.operation.hi)).mean())


def _intermediates(
    proto: onnx.ModelProto, lowered: Lowered, batch: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the float model's value of every tensor that the integer model holds, or of its outputs alone."""
    wanted = {*lowered.wide, *lowered.narrow}
    if sum(lowered.model.facts[p.tensor].size for p in lowered.wide.values()) * len(next(iter(batch.values()))) > (
        MAX_REFERENCE
    ):
        return reference.run(proto, batch)
    extended = onnx.shape_inference.infer_shapes(proto)
    known = {info.name for info in extended.graph.output}
    for info in list(extended.graph.value_info):
        if info.name in wanted and info.name not in known:
            extended.graph.output.append(info)
    try:
        return reference.run(extended, batch)
    except ConfigError:  # onnxruntime cannot show every inner tensor of every model
        return reference.run(proto, batch)
