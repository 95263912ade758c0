"""What people read: the listing is the program, and the profile adds up."""

from __future__ import annotations

from itertools import pairwise

from balance_orion.generator import generate
from balance_orion.listing import listing, profile
from typer.testing import CliRunner

from balance_core.integer.operations import Clamp, MatMul, Rescale
from balance_core.testing.models import mlp

from .workshop import Sketch


def drawn():
    sketch = Sketch()
    product = sketch.op(MatMul(), sketch.input([5, 9], 0, 200), sketch.weight([9, 4], -99, 99))
    sketch.op(Clamp(0, 99), sketch.op(Rescale(64), product))
    return sketch.model()


def test_the_listing_covers_every_word():
    program = generate(drawn())
    offsets = [int(line[:7]) for line in listing(program) if line[:7].strip().isdecimal()]
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    assert {following - offset for offset, following in pairwise(offsets)} == {1, 2}
    assert offsets[-1] == len(program.words) - 1
    assert "A view" in next(iter(listing(program)))


def test_the_profile_adds_up():
    model = drawn()
    program = generate(model)
    lines = list(profile(program, model))
    assert any(line.startswith("matmul_rescale_clamp") for line in lines)
    total = next(line for line in lines if line.startswith("all"))
    assert total.split()[1] == str(sum(layer.steps for layer in program.layers))


def test_the_commands_show_and_profile_a_file(tmp_path):
    from balance_orion.commands import app

    path = tmp_path / "model.onnx"
    path.write_bytes(mlp(seed=1).SerializeToString())
    shown = CliRunner().invoke(app, ["show", str(path), "--lines", "30"])
    assert shown.exit_code == 0, shown.output
    assert "call rel" in shown.output
    profiled = CliRunner().invoke(app, ["profile", str(path)])
    assert "rows" in profiled.output
