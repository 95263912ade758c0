"""Samples as files: the arrays that go in and the float model's answers, in one .npz that holds no pickle.

One request is packed into bytes instead, since it goes through pipes and is sealed where it is kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from balance_core.contracts import Samples
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

_INPUT = "inputs/"
_OUTPUT = "outputs/"


def write_samples(path: Path, samples: Samples) -> None:
    """Write samples; equal samples give equal bytes."""
    import numpy as np

    named = {_INPUT + name: array for name, array in samples.inputs.items()}
    named |= {_OUTPUT + name: array for name, array in samples.outputs.items()}
    np.savez(path, **named)  # type: ignore[arg-type]


def read_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        return Samples(
            {name.removeprefix(_INPUT): stored[name] for name in stored.files if name.startswith(_INPUT)},
            {name.removeprefix(_OUTPUT): stored[name] for name in stored.files if name.startswith(_OUTPUT)},
        )


def pack(inputs: Mapping[str, np.ndarray]) -> bytes:
    """Return one request's arrays as bytes: a JSON header (name, type and shape of each) behind its length, and data.

    Raises ConfigError for arrays of anything but numbers.
    """
    header, pieces = [], []
    for name in sorted(inputs):
        array = inputs[name]
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"input {name!r} holds {array.dtype}, not numbers")
        header.append([name, array.dtype.name, list(array.shape)])
        pieces.append(array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes())
    text = json.dumps(header).encode()
    return b"".join([len(text).to_bytes(4, "big"), text, *pieces])


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Read what `pack` wrote; raises ConfigError for anything else."""
    import numpy as np

    start = 4 + int.from_bytes(data[:4], "big")
    inputs = {}
    try:
        for name, dtype, shape in json.loads(data[4:start]):
            kind = np.dtype(dtype).newbyteorder("<")
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data, kind, count, start).reshape(shape)
            inputs[str(name)] = array.astype(kind.newbyteorder("="), copy=False)
            start += array.nbytes
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a packed request cannot be read: {error}") from error
    if start != len(data):
        raise ConfigError("a packed request has another length than its header says")
    return inputs
