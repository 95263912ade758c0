"""Matrix products and convolutions as bodies: packed where one operand is constant, else plain.

Which of the forms below is taken, and whether an operand is first copied into a more regular place, is decided by the
steps that it takes and the words that it makes the program longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.operations import Add, Conv2d, MatMul, Rescale, Sub
from balance_orion.body import Column
from balance_orion.emitter import Emitter, Value
from balance_orion.kernels import conv2d, matmul, mul, packing
from balance_orion.layers import STEPS, WORD, Step, is_renaming, steps_for
from balance_orion.parts import LARGEST_UNROLLED, Part, Shop, run_steps, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_orion.body import Ref
    from balance_orion.kernels.linear import Block
    from balance_orion.kernels.packing import Lanes

LARGEST_BODY = 24_000
"""Most cells of one turn, with room left for its state."""
MAX_WALKS = 12
"""A layer that would need more pointers than this reads from a copy that is laid out more regularly."""


def linear_parts(shop: Shop, head: int, members: Sequence[int]) -> list[Part]:
    """Return the bodies of a stage that begins with a matrix product or a convolution."""
    node = shop.model.nodes[head]
    facts = [shop.model.facts[i] for i in node.inputs]
    steady = [shop.known.views[i].space == "constant" for i in node.inputs]
    if isinstance(node.operation, MatMul):
        blocks = matmul.blocks(node.operation, facts, 1 if steady[0] else 0)
        tensors = list(node.inputs)
    elif isinstance(node.operation, Conv2d):
        blocks = conv2d.blocks(node.operation, facts)
        tensors = [_padded(shop, node.inputs[0], node.operation), node.inputs[1]]
    else:
        raise TypeError(f"{node.operation.name} is no linear operation")
    moving = blocks[0].moving
    packed = shop.known.views[tensors[1 - moving]].space == "constant"
    packed = packed and shop.known.views[tensors[moving]].space != "constant"
    if packed:
        tensors[moving] = _regular(shop, tensors[moving], blocks)
        return _packed_parts(shop, head, members, blocks, tensors)
    for side, tensor in enumerate(tensors):
        if shop.known.views[tensor].offset:
            tensors[side] = shop.copied(tensor)
    steps = steps_for(shop.known, list(members[1:]), shop.uses)
    return [part for block in blocks for part in _plain_parts(shop, head, steps, block, tensors)]


def _padded(shop: Shop, tensor: int, operation: Conv2d) -> int:
    """Return images with their padding, as a copy unless there is none."""
    if not any(operation.pads):
        return tensor
    top, left, bottom, right = operation.pads
    count, channels, height, width = shop.model.facts[tensor].shape
    picture = np.full((count * channels, height + top + bottom, width + left + right), -1, dtype=np.int64)
    picture[:, top : top + height, left : left + width] = np.arange(count * channels * height * width).reshape(
        -1, height, width
    )
    return shop.copied(tensor, _sheets(picture))


def _sheets(picture: np.ndarray) -> np.ndarray:
    """Return rows for a copy: a channel to a turn, or a row of one where a channel is too large."""
    channels, height, width = picture.shape
    if channels == 1 or height * width <= LARGEST_UNROLLED:
        return picture.reshape(channels, height * width)
    return picture.reshape(channels * height, width)


def _regular(shop: Shop, tensor: int, blocks: Sequence[Block]) -> int:
    """Return the tensor, or a copy if its elements' places are too irregular for few pointers."""
    view = shop.known.views[tensor]
    for block in blocks:
        if len(block.x) == 1:
            continue
        places = view.addresses[block.x]
        moves = np.unique((places - places[:1]).T, axis=0)
        span = int(places[0].max() - places[0].min()) // 2**15
        if len(moves) + span > MAX_WALKS:
            size = len(view.addresses)
            shape = shop.model.facts[tensor].shape if tensor >= 0 else (size,)
            width = prod(shape[-2:]) if len(shape) >= 3 else shape[-1]
            if width > LARGEST_UNROLLED or size % width:
                return tensor
            return shop.copied(tensor, np.arange(size).reshape(-1, width))
    return tensor


@dataclass(frozen=True)
class _Tail:
    """What is taken into a packed sum: constants that are added, and a division."""

    node: int
    divisor: int
    added: np.ndarray
    """For each element of the result."""
    rest: list[int]
    """Nodes that are left to do."""


def _tail(shop: Shop, head: int, members: Sequence[int]) -> _Tail:
    """Find the additions of constants and the division that directly follow a linear node."""
    model, views = shop.model, shop.known.views
    node, divisor = head, 1
    added = np.zeros(model.facts[head].size, dtype=np.int64)
    rest = list(members[1:])
    while shop.uses[node] == 1 and divisor == 1:
        readers = [m for m in rest if node in model.nodes[m].inputs]
        if len(readers) != 1:
            break
        reader = readers[0]
        operation, operands = model.nodes[reader].operation, model.nodes[reader].inputs
        if isinstance(operation, (Add, Sub)):
            other = operands[1] if operands[0] == node else operands[0]
            if views.get(other) is None or views[other].space != "constant":
                break
            if isinstance(operation, Sub) and operands[0] != node:
                break
            values = views[other].addresses[spread(shop.known, other, reader)]
            added = added + values if isinstance(operation, Add) else added - values
        elif isinstance(operation, Rescale):
            divisor = operation.divisor
        elif not is_renaming(model, reader):
            break
        node = reader
        rest.remove(reader)
    return _Tail(node, divisor, added, rest)


def _packed_parts(
    shop: Shop, head: int, members: Sequence[int], blocks: Sequence[Block], tensors: Sequence[int]
) -> list[Part]:
    tail = _tail(shop, head, members)
    least, most = shop.known.ends(tail.node)
    lanes = packing.Lanes(tail.node, tail.divisor, least, most)
    steps = steps_for(shop.known, tail.rest, shop.uses)
    parts = []
    for block in blocks:
        weights = shop.known.views[tensors[1 - block.moving]].addresses[block.y]
        parts += _packed_block(shop, block, weights, tensors[block.moving], (lanes, tail, steps))
    return parts


def _packed_block(
    shop: Shop, block: Block, weights: np.ndarray, x: int, how: tuple[Lanes, _Tail, Sequence[Step]]
) -> list[Part]:
    """Choose between weights in the code, all lanes in one turn, and weights in the data, a group of lanes a turn."""
    lanes, tail, steps = how
    turns, terms = block.x.shape
    count = weights.shape[1]
    groups = -(-count // lanes.per_element)
    width = -(-count // groups)
    added = tail.added[block.result]
    steady = bool((added == added[:1]).all())
    reads = terms if turns > 1 else 0
    each = 12 + sum(STEPS.get(type(shop.model.nodes[step.node].operation), 0) for step in steps)
    in_code = turns * (reads + 2 * terms * groups) + WORD * (reads + 3 * terms * groups + each * count)
    in_data = turns * groups * (reads + 3 * terms) + WORD * (4 * terms + terms * groups + each * width)
    body = reads + 2 * terms * groups + 12 * count
    if steady and body <= LARGEST_BODY and (in_code <= in_data or groups == 1):
        return [_in_code(shop, block, weights, x, how)]
    # The last group takes lanes of the one before, if there are too few: they come out alike twice.
    starts = np.minimum(np.arange(groups) * width, count - width)
    return [_in_data(shop, block, weights, (x, starts[:, None] + np.arange(width)), how)]


def _in_code(shop: Shop, block: Block, weights: np.ndarray, x: int, how: tuple[Lanes, _Tail, Sequence[Step]]) -> Part:
    """All lanes in one turn, with the weights as immediate operands."""
    lanes, tail, steps = how
    added = tail.added[block.result[0]]
    e = Emitter(shop.known, len(block.x))
    offset = shop.known.views[x].offset
    per = lanes.per_element
    results: list[dict[int, Value]] = []
    for start in range(0, weights.shape[1], per):
        part = weights[:, start : start + per]
        terms: list[tuple[Ref, Ref | int]] = []
        for k, row in enumerate(part):
            if row.any():
                ref = e.operand(x, block.x[:, k]).ref
                if ref is not None:
                    terms.append((ref, lanes.join(row.tolist())))
        total = packing.accumulate(e, terms)
        sums = part.sum(axis=0)
        constants = [int(a) + offset * int(s) for a, s in zip(added[start : start + per], sums, strict=True)]
        shift = lanes.join([lanes.shift(constant) for constant in constants])
        chosen = list(block.result[:, start : start + per].T)
        values = packing.unpack(e, lanes, total, shift, chosen)
        results += [run_steps(e, steps, {tail.node: value}, at) for value, at in zip(values, chosen, strict=True)]
    return Part(e, block.result, results)


def _in_data(
    shop: Shop, block: Block, weights: np.ndarray, x: tuple[int, np.ndarray], how: tuple[Lanes, _Tail, Sequence[Step]]
) -> Part:
    """A group of lanes in a turn, with weights in the program's data; `x` is the tensor, and each group's lanes."""
    lanes, tail, steps = how
    tensor, picked = x
    code = shop.known.code
    rows, terms = block.x.shape
    groups, width = picked.shape
    packed = [lanes.join(row[group].tolist()) for group in picked for row in weights]
    place = code.store(packed)
    e = Emitter(shop.known, rows * groups)
    offset = shop.known.views[tensor].offset
    pairs: list[tuple[Ref, Ref | int]] = []
    ends = min(packed), max(packed)
    for k in range(terms):
        ref = e.operand(tensor, np.repeat(block.x[:, k], groups)).ref
        weight = e.body.load(Column("data", place + np.tile(np.arange(groups) * terms + k, rows), *ends))
        if ref is not None:
            pairs.append((ref, weight))
    total = packing.accumulate(e, pairs)
    constants = tail.added[block.result] + offset * weights.sum(axis=0)[None, :]
    shifts = [
        lanes.join([lanes.shift(int(constant)) for constant in row[group]]) for row in constants for group in picked
    ]
    elements = block.result[:, picked].reshape(rows * groups, width)
    chosen = list(elements.T)
    shift: Ref | int = shifts[0]
    if len(set(shifts)) > 1:
        used = shifts
        where = np.arange(len(shifts), dtype=np.int64)
        if len(set(map(tuple, np.array(shifts, dtype=object).reshape(rows, groups).tolist()))) == 1:
            used, where = shifts[:groups], where % groups
        shift = e.body.load(Column("data", code.store(used) + where, min(used), max(used)))
    values = packing.unpack(e, lanes, total, shift, chosen)
    results = [run_steps(e, steps, {tail.node: value}, at) for value, at in zip(values, chosen, strict=True)]
    return Part(e, elements, results)


def _plain_parts(shop: Shop, head: int, steps: Sequence[Step], block: Block, tensors: Sequence[int]) -> list[Part]:
    """Sums of plain products: a row of results to a turn, or a single one where that would be too long."""
    x, y = tensors[block.moving], tensors[1 - block.moving]
    (rows, terms), count = block.x.shape, block.y.shape[1]
    unrolled = terms * count + rows * (terms + 2 * terms * count) + WORD * 3 * terms * count
    single = rows * count * 4 * terms + WORD * 4 * terms
    if terms * (1 + 2 * count) <= LARGEST_BODY and (unrolled <= single or rows * count == 1):
        e = Emitter(shop.known, rows)
        lanes = []
        for lane in range(count):
            total = _dot(e, x, y, [(block.x[:, k], np.full(rows, block.y[k, lane])) for k in range(terms)])
            lanes.append(run_steps(e, steps, {head: total}, block.result[:, lane]))
        return [Part(e, block.result, lanes)]
    e = Emitter(shop.known, rows * count)
    pairs = [(np.repeat(block.x[:, k], count), np.tile(block.y[k], rows)) for k in range(terms)]
    elements = block.result.reshape(-1, 1)
    return [Part(e, elements, [run_steps(e, steps, {head: _dot(e, x, y, pairs)}, elements[:, 0])])]


def _dot(e: Emitter, x: int, y: int, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Value:
    """Sum of products of known cells."""
    total: Ref | None = None
    for left, right in pairs:
        product = mul.emit(e, 0, [e.operand(x, left), e.operand(y, right)], left)
        if product.ref is None:
            raise AssertionError("a product of constants was not folded")
        total = product.ref if total is None else e.body.add(total, product.ref)
    if total is None:
        raise AssertionError("a sum has no terms")
    return Value(total)
