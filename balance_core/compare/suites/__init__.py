"""Models with samples to compare backends on: shipped, or made from a seed.

`mnist` has four trained networks of growing kinds on the same 200 digits; `classic` has what is used where no network
is (regressions, trees, rules) and the usual shapes of small networks; `ladder` has one family in growing sizes, with
random weights from a seed; `smoke` is small enough for a first look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_HERE = Path(__file__).parent
_EXAMPLE = _HERE.parents[1] / "examples" / "mnist" / "mnist_mlp.onnx"
_MNIST_SHAPES = {"mnist_mlp": (784,), "mnist_cnn": (1, 28, 28), "lenet5": (1, 28, 28), "mnist_transformer": (14, 56)}
_CLASSIC = (
    "linear_regression",
    "logistic_regression",
    "tree",
    "forest",
    "boosted_trees",
    "mlp_784_56_10",
    "residual",
    "lstm",
)
_SMOKE = ("logistic_regression", "tree")
_LADDER = (16, 64, 256, 768)
"""Widths: about 500 to 1,200,000 weights."""
_SEED = 20
_SAMPLES = 100


@dataclass(frozen=True)
class SuiteModel:
    """A model of a suite with its samples."""

    name: str
    path: Path
    """A file that `balance convert` takes: ONNX, or rules as YAML."""
    inputs: dict[str, np.ndarray]
    """Samples by the input's name, the batch first."""
    labels: np.ndarray | None = None
    """What the answers should be, where the samples have labels."""
    family: str | None = None
    """What it is one size of, where growth is looked at."""


def names() -> tuple[str, ...]:
    """Return the names of the suites."""
    return tuple(_SUITES)


def load(name: str, folder: Path) -> tuple[SuiteModel, ...]:
    """Return a suite's models; those that are made from a seed are written into `folder`. Raises ConfigError."""
    if name not in _SUITES:
        raise ConfigError(f"there is no suite {name!r}", hint=f"one of {', '.join(_SUITES)}")
    return _SUITES[name](folder)


def _mnist(folder: Path) -> tuple[SuiteModel, ...]:
    del folder
    digits = _arrays(_HERE / "mnist" / "digits.npz")
    x, y = digits["x"], digits["y"]
    return tuple(
        SuiteModel(name, _mnist_path(name), {"x": x.reshape(len(x), *shape)}, y)
        for name, shape in _MNIST_SHAPES.items()
    )


def _mnist_path(name: str) -> Path:
    return _EXAMPLE if name == "mnist_mlp" else _HERE / "mnist" / f"{name}.onnx"


def _classic(folder: Path) -> tuple[SuiteModel, ...]:
    del folder
    return tuple(_shipped(name) for name in (*_CLASSIC, "scorecard"))


def _shipped(name: str) -> SuiteModel:
    path = _HERE / "classic" / f"{name}.onnx"
    samples = _arrays(path.with_suffix(".npz"))
    labels = samples.pop("y", None)
    return SuiteModel(name, path if path.exists() else path.with_suffix(".yaml"), samples, labels)


def _smoke(folder: Path) -> tuple[SuiteModel, ...]:
    return (*(_shipped(name) for name in _SMOKE), _perceptron(folder, _LADDER[0]))


def _ladder(folder: Path) -> tuple[SuiteModel, ...]:
    return tuple(_perceptron(folder, width) for width in _LADDER)


def _perceptron(folder: Path, width: int) -> SuiteModel:
    """Write a network of two square layers with random weights from a seed."""
    import numpy as np

    from balance_core.compare.suites.perceptron import square

    name = f"perceptron_{width}"
    path = folder / f"{name}.onnx"
    path.write_bytes(square(width, _SEED))
    samples = np.random.default_rng(_SEED).uniform(-1, 1, (_SAMPLES, width)).astype(np.float32)
    return SuiteModel(name, path, {"x": samples}, family="perceptron")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    with np.load(path) as found:
        return dict(found)


_SUITES: dict[str, Callable[[Path], tuple[SuiteModel, ...]]] = {
    "smoke": _smoke,
    "mnist": _mnist,
    "classic": _classic,
    "ladder": _ladder,
}
