"""Command groups that plugins bring (entry points: balance.commands), imported only when they are named."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import typer.core
import typer.main

from balance_core.errors import PluginLoadError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@cache  # every distribution that is installed is read for it
def _points() -> dict[str, EntryPoint]:
    from importlib import metadata

    return {point.name: point for point in metadata.entry_points(group="balance.commands")}


class GroupWithPlugins(typer.core.TyperGroup):
    """The core's commands, and behind them a group for each plugin that brings one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        own = super().list_commands(ctx)
        return [*own, *sorted(set(_points()) - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; a plugin's group is imported now."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        point = _points().get(cmd_name)
        if point is None:
            return None
        try:
            command = typer.main.get_command(point.load())
        except Exception as error:
            raise PluginLoadError(
                f"the command group {cmd_name!r} does not load: {error}", hint=f"it comes from {point.value}"
            ) from error
        command.name = cmd_name  # what the help of all commands calls it
        return command
