"""Groups of commands that are imported when they are looked up.

One program serves operators and runs the daemons. `holdfast vm list` should not wait for what only the lab, the
simulator or the agent need; nor should an agent, whose watchdog waits when it is started again.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name. `found` are there already; `places` says where the others are, as `module:attribute`: a
    function is a command, a `Typer` a group.
    """

    def __init__(self, found: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self._commands: dict[str, Any] = {**dict.fromkeys(places), **found}
        self._places = places

    def __getitem__(self, name: str) -> Any:
        command = self._commands[name]
        if command is None:
            command = self._commands[name] = _imported(name, self._places[name])
        return command

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


def lazily(places: Mapping[str, str]) -> type[TyperGroup]:
    """For `typer.Typer(cls=...)`: the group has these commands too, see `LazyCommands`."""

    class LazyGroup(TyperGroup):
        def __init__(self, **arguments: Any) -> None:
            commands = LazyCommands(arguments.pop("commands", None) or {}, places)
            super().__init__(commands=commands, **arguments)  # type: ignore[arg-type]

    return LazyGroup


def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(found)
    return get_command(alone)
