"""A user's inputs: read from a file, checked against the model, and brought into the shape of a batch."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from balance_core import canonical
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.records import TensorSpec

MAX_ARRAY_BYTES = 2**30
"""Largest array file, and largest array inside one, in bytes."""
MAX_TEXT_BYTES = 2**26
"""Largest .json or .csv file, in bytes."""
EXACT_INTEGERS = 2**53
"""Integers up to this size are exact as doubles, which JSON and CSV are read as."""


def read_inputs(path: Path | str, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Read the model's inputs from a .npy, .npz, .json or .csv file, by the names of the inputs.

    A model with one input also takes the array named `x`, or the only one that there is; other arrays are ignored.
    Raises ConfigError for a file that cannot be read, is too large, holds anything but numbers, or lacks an input.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"{path} is no kind of input file that is known", hint="give a .npy, .npz, .json or .csv file"
        )
    limit = MAX_TEXT_BYTES if reader in {_read_json, _read_csv} else MAX_ARRAY_BYTES
    try:
        size = path.stat().st_size
        if size > limit:
            raise ConfigError(f"{path} has {size} bytes, more than the {limit} allowed", hint="give fewer samples")
        return reader(path, specs)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the inputs {str(path)!r}: {reason}") from error


def as_batch(values: np.ndarray | Mapping[str, np.ndarray], specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return the samples as a batch: every array has the shape (N, *input shape) and the input's element type.

    An array holds one sample or several along a further first axis; a sample may leave out a leading 1 of the input's
    shape, or be flat. Element types are changed only where every number stays what it is (float64 may be rounded to
    the model's float32). Raises ConfigError for anything else, NaN and infinity among it.
    """
    named = values if isinstance(values, dict) else dict(values) if hasattr(values, "keys") else {"x": values}
    arrays = _by_input(named, specs, "the inputs")
    batch = {spec.name: _samples(_converted(np.asarray(arrays[spec.name]), spec), spec) for spec in specs}
    counts = {name: len(array) for name, array in batch.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(
            "the inputs hold different numbers of samples: "
            + ", ".join(f"{name} {count}" for name, count in counts.items())
        )
    return batch


def _by_input(found: Mapping[str, Any], specs: Sequence[TensorSpec], what: str) -> dict[str, Any]:
    """Choose the arrays that are the model's inputs."""
    names = [spec.name for spec in specs]
    if all(name in found for name in names):
        return {name: found[name] for name in names}
    if len(names) == 1 and ("x" in found or len(found) == 1):
        return {names[0]: found["x"] if "x" in found else next(iter(found.values()))}
    missing = ", ".join(repr(name) for name in names if name not in found)
    held = ", ".join(repr(name) for name in list(found)[:8]) or "nothing"
    raise ConfigError(
        f"{what} lack {missing}: they hold {held}",
        hint="name the arrays after the model's inputs" + (", or x" if len(names) == 1 else ""),
    )


def _samples(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    shape = spec.shape
    bare = shape[1:] if shape[:1] == (1,) else shape
    if array.shape in {shape, bare, (spec.size,)}:
        return array.reshape(1, *shape)
    if array.ndim and array.shape[1:] in {shape, bare, (spec.size,)}:
        if len(array) == 0:
            raise ConfigError(f"input {spec.name!r} holds no samples")
        return array.reshape(len(array), *shape)
    raise ConfigError(
        f"input {spec.name!r} has the shape {array.shape}, and the model takes {shape}",
        hint=f"give one sample of shape {bare}, or several of shape {('N', *bare)}".replace("'N'", "N"),
    )


def _converted(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Return the array with the input's element type, where that changes no number."""
    name, wanted = spec.name, np.dtype(spec.dtype)
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"input {name!r} holds {array.dtype}, not numbers", hint=f"give {spec.dtype} values")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ConfigError(f"input {name!r} holds NaN or infinity", hint="replace missing values before proving")
    if array.dtype == wanted:
        return array
    with np.errstate(all="ignore"):
        result = array.astype(wanted)
    if wanted.kind == "f" and array.dtype.kind == "f":
        kept = bool(np.isfinite(result).all())
    elif array.dtype.kind == "f":
        kept = bool((np.abs(array) <= EXACT_INTEGERS).all() and (result.astype(array.dtype) == array).all())
    else:
        kept = bool((result.astype(array.dtype) == array).all() and ((result < 0) == (array < 0)).all())
    if not kept:
        raise ConfigError(
            f"input {name!r} holds {array.dtype} values that are not exact as {spec.dtype}",
            hint=f"give {spec.dtype} values",
        )
    return result


def _read_npy(path: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        array = _array(file, path.stat().st_size, str(path))
    return _by_input({"x": array}, specs, str(path))


def _read_npz(path: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            result = {}
            for name, info in _by_input(members, specs, str(path)).items():
                if info.file_size > MAX_ARRAY_BYTES:
                    raise ConfigError(f"the array {info.filename} of {path} has {info.file_size} bytes: too many")
                with archive.open(info) as file:
                    result[name] = _array(file, info.file_size, f"{info.filename} of {path}")
            return result
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ConfigError(f"{path} is not a readable .npz file: {error}") from error


def _array(file: IO[bytes], size: int, what: str) -> np.ndarray:
    """Read one array of at most `size` bytes; the header is believed only as far as the bytes go."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read_header[version](file)
        if dtype.hasobject:
            raise ConfigError(
                f"{what} holds Python objects, which are not read", hint="save numbers: np.save(path, x)"
            )
        expected = prod(shape) * dtype.itemsize
        data = file.read(expected) if expected <= size else b""
    except (ValueError, KeyError, EOFError) as error:
        raise ConfigError(f"{what} is not a readable .npy array", hint="write it with np.save(path, x)") from error
    if len(data) < expected or any(length < 0 for length in shape):
        raise ConfigError(f"{what} is cut short: it declares {expected} bytes", hint="write it with np.save(path, x)")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _read_json(path: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    value = canonical.decode(path.read_bytes(), max_size=MAX_TEXT_BYTES, what=str(path))
    if (
        isinstance(value, dict)
        and isinstance(value.get("input_data"), list)
        and len(value["input_data"]) == len(specs)
    ):
        value = {spec.name: item for spec, item in zip(specs, value["input_data"], strict=True)}
    chosen = _by_input(value if isinstance(value, dict) else {"x": value}, specs, str(path))
    return {name: _numbers(item, name, path) for name, item in chosen.items()}


def _numbers(value: Any, name: str, path: Path) -> np.ndarray:
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"input {name!r} in {path} has rows of different lengths or depths") from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"input {name!r} in {path} holds something else than numbers")
    return array


def _read_csv(path: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    if len(specs) != 1:
        raise ConfigError(f"{path} holds one table, and the model has {len(specs)} inputs", hint="give a .npz file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise ConfigError(f"{path} holds no samples", hint="one line for each sample, numbers between commas")
        table = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        hint = "one line for each sample, numbers between commas, no heading"
        raise ConfigError(f"{path} is not a table of numbers: {str(error).split(';')[0][:200]}", hint=hint) from error
    return {specs[0].name: table}


_READERS = {".csv": _read_csv, ".json": _read_json, ".npy": _read_npy, ".npz": _read_npz}
