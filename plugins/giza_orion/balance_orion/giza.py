"""`GizaModel`, as users of the giza-actions SDK know it, with proofs that are made on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core.errors import ConfigError
from balance_orion import NAME, osiris

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.session import Run
    from balance_core.verification import Verified

FORMATS = tuple(osiris.FIXED)
"""The fixed-point formats that a proof can be asked for in."""


@dataclass(frozen=True)
class ProofHandle:
    """What a verifiable prediction returns in place of the service's request id: a proof that is there already."""

    run: Run

    @property
    def request_id(self) -> str:
        """The context that the proof is bound to, as hex."""
        return self.run.statement.context

    @property
    def bundle(self) -> Path:
        """The file to hand to others."""
        return self.run.bundle

    def verify(self) -> Verified:
        """Check the proof again, in a fresh process, against the registration it was made under."""
        import balance_core

        return balance_core.verify(self.bundle, registration=self.run.receipt.registration)

    def __str__(self) -> str:
        return self.request_id


class GizaModel:
    """A local ONNX model that predicts, and proves its predictions if asked to.

    The service that held models by id and version is gone: naming one raises ConfigError. `samples` are typical
    inputs, by which the integer model is chosen (without them the input itself), and `settings` those of the
    backend.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        id: int | None = None,  # noqa: A002  # the SDK's own name
        version: int | None = None,
        output_path: str | None = None,
        *,
        samples: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if id is not None or version is not None or output_path is not None:
            raise ConfigError(
                "models by id and version were held by a service that no longer answers",
                hint="give the ONNX file: GizaModel(model_path='model.onnx')",
            )
        if model_path is None:
            raise ConfigError("a model needs a file", hint="GizaModel(model_path='model.onnx')")
        self.model_path = Path(model_path)
        self.samples = samples
        self.settings = dict(settings or {})

    def predict(  # noqa: PLR0917  # the order is the SDK's
        self,
        input_file: str | Path | None = None,
        input_feed: Mapping[str, Any] | None = None,
        verifiable: bool = False,
        fp_impl: str | None = "FP16x16",
        custom_output_dtype: str | None = None,
        model_category: str = "ONNX_ORION",
        job_size: str = "M",
        dry_run: bool = False,
    ) -> tuple[np.ndarray, ProofHandle | None]:
        """Return the first output, and with `verifiable` a handle on the proof of it.

        `fp_impl` is the fixed-point format of the proven model, or None for scales that suit the model. The SDK's
        `model_category` and `job_size` mean nothing here; `dry_run` predicts without a proof, as proven.
        Raises ConfigError for no input or an unknown format, and what proving raises.
        """
        del model_category, job_size
        feed = self._feed(input_file, input_feed)
        if not verifiable:
            return self._float(feed), None
        import balance_core

        if fp_impl is not None and fp_impl not in FORMATS:
            raise ConfigError(f"{fp_impl} cannot be proven", hint=f"known are {', '.join(FORMATS)}, and None")
        settings = {**self.settings} if fp_impl is None else {"fixed": fp_impl, **self.settings}
        options: dict[str, Any] = {"backend": NAME, "settings": settings}
        if dry_run:
            samples = feed if self.samples is None else self.samples
            registered = balance_core.setup(self.model_path, samples, **options)
            answers = balance_core.execute(registered.registration.registration_id, feed).answers
            return _as(answers[0][0].real(), custom_output_dtype), None
        run = balance_core.run(self.model_path, feed, samples=self.samples, **options)
        return _as(run.statement.outputs[0].real(), custom_output_dtype), ProofHandle(run)

    def _feed(self, input_file: str | Path | None, input_feed: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
        import numpy as np

        if input_feed is not None:
            return {name: np.asarray(array) for name, array in input_feed.items()}
        if input_file is None:
            raise ConfigError("there is nothing to predict from", hint="give input_feed={'x': array} or input_file")
        from balance_core.model.inputs import read_inputs
        from balance_core.model.load import load

        return {name: array[0] for name, array in read_inputs(input_file, load(self.model_path).inputs).items()}

    def _float(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answer as the SDK does without `verifiable`: the float model's first output."""
        import numpy as np
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(self.model_path), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, dict(feed))[0])


def _as(array: np.ndarray, dtype: str | None) -> np.ndarray:
    """Return an output as the SDK's names of output types have it: `Tensor<FP16x16>`, `Tensor<i32>` and so on."""
    import numpy as np

    kind = (dtype or "").removeprefix("Tensor<").removesuffix(">")
    if kind in osiris.INTEGERS:
        return np.asarray(np.rint(array), dtype=np.int64)
    if kind in {"", *osiris.FIXED}:
        return array
    raise ConfigError(f"{dtype} is no output type", hint="Tensor<FP16x16>, for example")
