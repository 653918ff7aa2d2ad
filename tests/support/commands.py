"""Every command of the command line, and words to run it with; a new command is in every test that uses this."""

from collections.abc import Iterator, Mapping
from typing import Any

from warehouse.cli.commands import build_command


def iterate_commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of each command, and the command."""
    command = command or build_command()
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in sorted(command.commands.items()):
        yield from iterate_commands(inner, (*path, name))


COMMANDS = dict(iterate_commands())
#: Those that run until they are stopped; they have tests of their own.
LASTING = ("explore", "mcp", "serve", "workbench")
NAMES = [name for path in COMMANDS if (name := " ".join(path)) not in LASTING]


def build_words(name: str, values: Mapping[str, object], **options: object) -> list[str]:
    """A command with all that it needs: `values` by the names of parameters, "nothing" for one that is not there.

    `options` are given where the command has them.
    """
    path = tuple(name.split())
    found = [*path]
    for param in COMMANDS[path].params:
        is_argument = param.param_type_name == "argument"
        if param.name in options and not is_argument:
            found += [param.opts[0], str(options[param.name])]
        elif is_argument and (param.required or param.name in values):
            found.append(str(values.get(f"{name}.{param.name}", values.get(param.name, "nothing"))))
        elif param.required:
            found += [param.opts[0], str(values.get(f"{name}.{param.name}", values.get(param.name, "nothing")))]
    return found
