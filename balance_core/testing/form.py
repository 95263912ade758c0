"""The form that all plugins share: what it takes to be found, configured and described."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import ValidationError

from balance_core import contracts, registry
from balance_core.errors import ConfigError, PluginNotFound
from balance_core.settings import Settings
from balance_core.workspace import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from balance_core.contracts import Plugin


class PluginConformance:
    """What every plugin promises, whatever it is for.

    A subclass for one contract says in `attribute` which class attribute names the plugin: the name of an installed
    one, or its class.
    """

    kind: ClassVar[str]
    attribute: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that make the plugin cheap to test."""
    exempt: ClassVar[Mapping[str, pytest.MarkDecorator]] = {}
    """Cases that cannot pass: `{"test_case": pytest.mark.never(raises=..., reason=...)}`, or notimpl, or notyet."""

    @classmethod
    def plugin_name(cls) -> str:
        """Return the plugin's name, for reports."""
        return _name(getattr(cls, cls.attribute))

    @classmethod
    def plugin_class(cls) -> type[Any]:
        """Return the plugin's class; skips where no such plugin is installed (see BALANCE_REQUIRE)."""
        return plugin_class(cls.kind, getattr(cls, cls.attribute))

    @classmethod
    def make(cls, **settings: Any) -> Any:
        """Return a new instance, with the test's settings and these."""
        return make(cls.kind, getattr(cls, cls.attribute), {**cls.settings, **settings})

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def data_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        """A data folder of the class's own, so that no case touches the user's."""
        folder = tmp_path_factory.mktemp("data")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(HOME_VARIABLE, str(folder))
            yield folder

    def test_it_says_which_contracts_it_speaks(self) -> None:
        """The plugin itself writes down the version of the contracts that it was written for, as a number."""
        found = self.plugin_class()
        own = [base for base in found.__mro__ if "api_version" in vars(base)]
        assert own, "the class has no api_version"
        assert own[0].__module__ != contracts.__name__
        assert type(found.api_version) is int
        assert found.api_version == contracts.API_VERSION

    def test_it_is_whole(self) -> None:
        """The class implements every method of its contract."""
        found = self.plugin_class()
        assert issubclass(found, registry.KINDS[self.kind])
        assert not sorted(found.__abstractmethods__)

    def test_it_is_described(self) -> None:
        """The class says in its docstring, of one sentence at least, what it is."""
        lines = (vars(self.plugin_class()).get("__doc__") or "").strip().splitlines()
        assert lines, "the class has no docstring"
        assert len(lines[0]) >= 10

    def test_settings_are_described(self) -> None:
        """Every setting has a default and a description."""
        fields = self.plugin_class().settings_class.model_fields
        assert not [name for name, field in fields.items() if field.is_required()], "settings without a default"
        undescribed = [name for name, field in fields.items() if not (field.description or "").strip()]
        assert not undescribed, f"settings without a description: {', '.join(undescribed)}"

    def test_settings_are_closed(self) -> None:
        """Settings refuse a name that they do not know."""
        settings_class = self.plugin_class().settings_class
        assert issubclass(settings_class, Settings)
        with pytest.raises(ConfigError):
            settings_class.parse({"no_such_setting": 1}, owner=self.plugin_name())

    def test_settings_are_frozen(self) -> None:
        """Settings do not change once they are made."""
        settings_class = self.plugin_class().settings_class
        settings = settings_class()
        for name in settings_class.model_fields:
            with pytest.raises(ValidationError):
                setattr(settings, name, getattr(settings, name))
        assert settings_class.model_config.get("frozen")

    def test_settings_travel_as_json(self) -> None:
        """Settings written as JSON and read again are the same settings."""
        settings_class = self.plugin_class().settings_class
        settings = settings_class.parse(self.settings, owner=self.plugin_name())
        values = json.loads(json.dumps(settings.model_dump(mode="json")))
        assert settings_class.parse(values, owner=self.plugin_name()) == settings

    def test_it_needs_no_settings(self) -> None:
        """An instance is made without arguments, and then has its default settings."""
        found = self.plugin_class()
        instance = found()
        assert type(instance.settings) is found.settings_class
        assert instance.settings == found.settings_class()


def _name(subject: str | type[Plugin]) -> str:
    return subject if isinstance(subject, str) else subject.__name__


def plugin_class(kind: str, subject: str | type[Any]) -> type[Any]:
    """Return the class behind a name, or the class that was given in its place."""
    if not isinstance(subject, str):
        return subject
    try:
        return registry.load(kind, subject)
    except PluginNotFound as error:
        pytest.skip(f"{error.message}; {error.hint}")


def make(kind: str, subject: str | type[Any], settings: Mapping[str, Any]) -> Any:
    """Return an instance of the plugin with validated settings."""
    found = plugin_class(kind, subject)
    return found(found.settings_class.parse(settings, owner=_name(subject)))
