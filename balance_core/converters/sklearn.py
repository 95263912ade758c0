"""scikit-learn: fitted estimators and pipelines, from skops files, or from pickles of an author who is trusted."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from balance_core.contracts import Converter
from balance_core.converters.sources import read_bytes
from balance_core.errors import BalanceError, ConfigError, ToolNotFound, UnsupportedModel
from balance_core.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

MAX_BYTES = 2**30
"""Largest file, and largest content of a skops file when unpacked."""
MAX_MEMBERS = 2**14
"""Most files in a skops file."""
MAX_FEATURES = 2**20
OPSETS = {"": 18, "ai.onnx.ml": 3}
"""The operators that skl2onnx may use."""
OLDEST = 13
"""What skl2onnx writes for older operators is brought up to these."""
HARMLESS = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types that skops does not vouch for and that are taken all the same.

The optimisers are plain Python and not used. A crafted Tree could make scikit-learn read outside its arrays: every
one is checked (`check_trees`) before anything uses it.
"""
_INSTALL = "pip install 'balance-core[sklearn]'"


class SklearnSettings(Settings):
    """Whose files are opened."""

    trust_pickle: Annotated[
        bool, Field(description="open .joblib and .pkl files, which can run any code of their author's")
    ] = False
    trusted_types: Annotated[
        tuple[str, ...],
        Field(description="types by full name that a .skops file may hold beside those that skops knows as harmless"),
    ] = ()


class SklearnConverter(Converter):
    """Reads a fitted estimator or pipeline over one matrix of numbers, and converts it through skl2onnx.

    The model takes `x` [N, features] float32. A classifier answers `label` and `probabilities` (or `scores`).
    """

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".skops", ".joblib", ".pkl", ".pickle"})
    settings_class = SklearnSettings

    def convert(self, source: Path) -> ModelProto:
        """Return the graph; raises ConfigError, UnsupportedModel, or ToolNotFound where an extra is not installed."""
        settings = cast("SklearnSettings", self.settings)
        if source.suffix.lower() == ".skops":
            estimator = _from_skops(source, settings.trusted_types)
        elif settings.trust_pickle:
            estimator = _from_pickle(source)
        else:
            raise ConfigError(
                f"{source.name} is a pickle: opening it can run any code of its author's",
                hint="save the model with skops.io.dump(model, 'model.skops'), or say --trust-pickle if you made it",
            )
        return to_onnx(estimator)


def _from_skops(source: Path, trusted: tuple[str, ...]) -> Any:
    """Load a skops file, if it holds only types that are known as harmless or named as trusted."""
    data = read_bytes(source, MAX_BYTES, "give a file that skops.io.dump has written")
    try:
        import skops.io  # noqa: F401 - asked for here, so that its absence is told from a bad file
    except ImportError as error:
        raise ToolNotFound("skops is not installed, which reads .skops files", hint=_INSTALL) from error
    try:
        estimator = _loaded(data, source.name, trusted)
    except BalanceError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{source.name} is no readable skops file: {type(error).__name__}: {_line(error)}",
            hint="write it with skops.io.dump(model, 'model.skops'), with the scikit-learn that is installed here",
        ) from error
    check_trees(estimator)
    return estimator


def _loaded(data: bytes, name: str, trusted: tuple[str, ...]) -> Any:
    from skops import io as skops

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
        raise ConfigError(f"{name} unpacks to more than {MAX_MEMBERS} files or {MAX_BYTES} bytes")
    strange = sorted(set(skops.get_untrusted_types(data=data)) - {*trusted, *HARMLESS})
    if strange:
        raise ConfigError(
            f"{name} holds types that are not known as harmless: {', '.join(strange)[:400]}",
            hint="if you trust them: -o 'converter.trusted_types=[\"" + '","'.join(strange)[:200] + "\"]'",
        )
    return skops.loads(data, trusted=[*trusted, *HARMLESS])


def check_trees(estimator: Any) -> None:
    """Raise ConfigError where a decision tree inside an estimator leads outside itself, or in a circle."""
    import numpy as np
    from sklearn.tree._tree import Tree

    waiting, seen = [estimator], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tree):
            count = value.node_count
            left, right = value.children_left, value.children_right
            inner = left != -1
            children = np.concatenate([left[inner], right[inner]])
            # Children come after their parents, so that no path returns; -1 twice marks a leaf.
            after = np.concatenate([np.flatnonzero(inner)] * 2)
            features = value.feature[inner]
            if (
                (children <= after).any()
                or (children >= count).any()
                or (right[~inner] != -1).any()
                or (features < 0).any()
                or (features >= value.n_features).any()
            ):
                raise ConfigError("a decision tree of the model leads outside itself: the file is damaged")
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, np.ndarray):
            waiting += value.ravel().tolist() if value.dtype.hasobject else []
        else:
            waiting += vars(value).values() if hasattr(value, "__dict__") and not isinstance(value, type) else []


def _from_pickle(source: Path) -> Any:
    """Load a pickle or a joblib file, whose author the user trusts."""
    try:
        import joblib
    except ImportError as error:
        raise ToolNotFound("joblib is not installed, which reads .joblib and .pkl files", hint=_INSTALL) from error
    try:
        return joblib.load(source)
    except Exception as error:
        raise ConfigError(
            f"{source.name} is no readable pickle: {type(error).__name__}: {_line(error)}",
            hint="write it with joblib.dump(model, 'model.joblib'), with the libraries that are installed here",
        ) from error


def to_onnx(estimator: Any) -> ModelProto:
    """Convert a fitted estimator; raises ConfigError for what is none, UnsupportedModel for what has no converter."""
    from onnx import version_converter

    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType
        from sklearn.base import BaseEstimator, is_classifier
    except ImportError as error:
        raise ToolNotFound(
            "skl2onnx is not installed, which converts scikit-learn's models", hint=_INSTALL
        ) from error
    kind = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator):
        raise ConfigError(
            f"the file holds a {kind}, no estimator of scikit-learn", hint="save the fitted model itself"
        )
    features = getattr(estimator, "n_features_in_", None)
    if not isinstance(features, int) or not 1 <= features <= MAX_FEATURES:
        raise ConfigError(f"the {kind} is not fitted to a matrix of numbers", hint="fit it before it is saved")
    try:
        _number_columns(estimator)
        as_tensor = is_classifier(estimator) and hasattr(estimator, "predict_proba")
        options = {id(estimator): {"zipmap": False}} if as_tensor else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about one another
            proto = convert_sklearn(
                estimator,
                initial_types=[("x", FloatTensorType([None, features]))],
                options=options,
                target_opset=OPSETS,
            )
            if any(entry.domain == "" and entry.version < OLDEST for entry in proto.opset_import):
                proto = version_converter.convert_version(proto, OLDEST)
    except Exception as error:
        raise UnsupportedModel(
            f"skl2onnx cannot convert the {kind}: {_line(error)}",
            hint="steps in Python code (FunctionTransformer, text) have no ONNX form; use scikit-learn's own steps",
        ) from error
    return cast("ModelProto", proto)


def _number_columns(estimator: Any) -> None:
    """Name the columns of ColumnTransformers by number: the model reads one matrix, which has no headings."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            _number_columns(step)
    elif isinstance(estimator, FeatureUnion):
        for _, step in estimator.transformer_list:
            _number_columns(step)
    elif isinstance(estimator, ColumnTransformer):
        places = {name: i for i, name in enumerate(getattr(estimator, "feature_names_in_", ()))}
        numbered = []
        for name, step, columns in estimator.transformers_:
            given = [columns] if isinstance(columns, str) else columns
            by_name = isinstance(given, list) and any(isinstance(column, str) for column in given)
            numbered.append((name, step, [places[column] for column in given] if by_name else columns))
            _number_columns(step)
        estimator.transformers_ = numbered


def _line(error: BaseException) -> str:
    """Return the first line of an error's message, cut to a readable length."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no message"
