"""Settings: frozen, closed, described, and the same from the command line, a file or Python."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Settings(BaseModel):
    """A plugin's settings: every field has a default and a description, and no other field is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, owner: str) -> Self:
        """Validate values given by name; texts are converted. Raises ConfigError that names the wrong one."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise ConfigError(
                    f"{owner} has no setting {name!r}", hint=_suggestion(name, cls.model_fields)
                ) from error
            raise ConfigError(
                f"{owner}: setting {name or 'values'}: {first['msg']}",
                hint=f"`balance plugins show {owner}` lists them",
            ) from error


def _suggestion(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"it knows {', '.join(known)}" if known else "it has none"


def read_options(options: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read `key=value` options into one table for each owner: `backend` unless the key has a prefix.

    `-o k=17 -o chain.rpc_url=http://...` gives {"backend": {"k": 17}, "chain": {"rpc_url": "http://..."}}. A value
    that is JSON (a number, true, a list) is taken as such, anything else as text.
    """
    tables: dict[str, dict[str, Any]] = {}
    for option in options:
        key, separator, text = option.partition("=")
        owner, dot, name = key.rpartition(".")
        if not separator or not name or (dot and not owner):
            raise ConfigError(f"option {option!r} is not of the form key=value", hint="for example: -o input_scale=8")
        table = tables.setdefault(owner or "backend", {})
        if name in table:
            raise ConfigError(f"option {key!r} is given twice")
        table[name] = _value(text)
    return tables


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
