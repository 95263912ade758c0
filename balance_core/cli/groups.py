"""Command groups that plugins bring (entry points: balance.commands), imported only when they are named."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import typer
import typer.core
import typer.main

from balance_core.errors import PluginLoadError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class GroupWithPlugins(typer.core.TyperGroup):
    """The core's commands and groups, and behind them a group for each plugin that brings one.

    A group's own commands are made when it is named: a list of all groups needs no more than what each is for.
    """

    groups: ClassVar[dict[str, typer.Typer]] = {}
    """The core's groups, in their order."""
    _listing = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name, group in self.groups.items():
            self.commands[name] = typer.core.TyperGroup(name=name, help=group.info.help)

    @cached_property  # every distribution that is installed is read for it
    def _points(self) -> dict[str, EntryPoint]:
        from importlib import metadata

        return {point.name: point for point in metadata.entry_points(group="balance.commands")}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        own = super().list_commands(ctx)
        return [*own, *sorted(set(self._points) - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; a plugin's group is imported now."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and (self._listing or cmd_name not in self.groups):
            return found
        group = self.groups.get(cmd_name) or self._imported(cmd_name)
        if group is None:
            return None
        if self._listing:
            return typer.core.TyperGroup(name=cmd_name, help=group.info.help)
        command = typer.main.get_command(group)
        command.name = cmd_name  # what the help of all commands calls it
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write what there is."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def _imported(self, name: str) -> typer.Typer | None:
        point = self._points.get(name)
        if point is None:
            return None
        try:
            found = point.load()
        except Exception as error:
            raise PluginLoadError(
                f"the command group {name!r} does not load: {error}", hint=f"it comes from {point.value}"
            ) from error
        if not isinstance(found, typer.Typer):
            raise PluginLoadError(
                f"the command group {name!r} is no typer application", hint=f"{point.value} names it"
            )
        return found
