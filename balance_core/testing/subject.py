"""What the cases of a backend start from: how it is made, the models to try, and proofs that are made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from balance_core.testing.edits import NO_CONTEXT
from balance_core.testing.models import KitModels, kit_models
from balance_core.testing.verifier import Evidence, VerifierConformance
from balance_core.testing.workbench import Proven, Workbench, context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from balance_core.contracts import ProofBackend, Verifier
    from balance_core.model import Model
    from balance_core.stages import Capabilities
    from balance_core.testing.workbench import Registered


class BackendSubject(VerifierConformance):
    """A backend under test."""

    kind = "backends"
    attribute = "backend"
    backend: ClassVar[str | type[ProofBackend]]
    """Name or class of the backend; a verifier of the same name goes with it unless `verifier` says otherwise."""
    private_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings under which inputs are private, for a backend that declares `private_input`."""
    tolerance: ClassVar[float] = 0.1
    """How far an answer may be from the float model's."""

    @classmethod
    def make_models(cls) -> KitModels:
        """Return the models to try; a backend that takes only some kinds of model brings its own."""
        return kit_models()

    @classmethod
    def make_bench(cls, folder: Path, **settings: Any) -> Workbench:
        """Return a place for stages to run in."""
        return Workbench(folder / "all", lambda: cls.make_backend(**settings), cls.plugin_class().needs_network)

    @classmethod
    def make_backend(cls, **settings: Any) -> ProofBackend:
        """Return a new backend."""
        backend: ProofBackend = cls.make(**settings)
        return backend

    @classmethod
    def verifier_subject(cls) -> str | type[Verifier]:
        """Return name or class of the verifier: the backend's own unless the class says otherwise."""
        named: str | type[Verifier] | None = getattr(cls, "verifier", None)
        if named is not None:
            return named
        assert isinstance(cls.backend, str), "a backend that is given as a class needs `verifier` too"
        return cls.backend

    @classmethod
    def capabilities(cls) -> Capabilities:
        """Return what the backend declares."""
        declared: Capabilities = cls.plugin_class().capabilities
        return declared

    @classmethod
    def promises(cls) -> Capabilities:
        """Return what the backend promises under the settings of this class."""
        return cls.make_backend().promises

    @classmethod
    def binds_context(cls) -> bool:
        """Say whether the backend declares that proofs bind the context."""
        return cls.capabilities().binds_context

    @classmethod
    def context(cls, number: int) -> bytes:
        """Return the context of a request that this backend takes."""
        return context(number) if cls.binds_context() else NO_CONTEXT

    @pytest.fixture(scope="class")
    @classmethod
    def models(cls) -> KitModels:
        """The models to try, made once for the class."""
        return cls.make_models()

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
        """Where the stages run, once for the class."""
        return cls.make_bench(tmp_path_factory.mktemp("bench"))

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, bench: Workbench, models: KitModels) -> Evidence:
        """Valid proofs, made once for the class."""

        def proven(model: Model, sample: int, number: int) -> Proven:
            return bench.proven(model, bench.registered(model).request(sample, cls.context(number)))

        return Evidence(
            valid=proven(models.main, 0, 1),
            again=proven(models.main, 1, 2),
            twin=proven(models.twin, 0, 1),
            other=proven(models.other, 0, 1),
        )

    @pytest.fixture
    def registered(self, bench: Workbench, models: KitModels) -> Registered:
        """The main model after setup and commitment."""
        return bench.registered(models.main)

    @pytest.fixture
    def away(self, bench: Workbench) -> Iterator[None]:
        """Hide the folder in which the stages ran."""
        with bench.hidden():
            yield
