"""Reads and writes the YAML of forms: every value is a text, so that `no` and 2026-06-30 stay what was written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from warehouse.errors import UsageError

#: More than any form has.
MOST_BYTES = 256 << 10


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a form: its fields by name, each a text or a list of texts; `-` reads stdin. UsageError if it is no form."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES >> 10} KiB, the limit for a form.")
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    """Parse a form from its bytes; `name` is that of the file, for messages."""
    import yaml

    try:
        found = yaml.load(content.decode("utf-8-sig"), Loader=_create_loader())  # noqa: S506 - it makes texts alone
    except UnicodeError:
        raise UsageError(f"{name} is not valid UTF-8. Save it as UTF-8.") from None
    except RecursionError:
        raise UsageError(f"{name} is nested too deeply.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or "it is not YAML").split())
        raise UsageError(
            f"{name}{where} cannot be read as YAML: {problem}. A text with a colon or # in it needs quotes."
        ) from None
    if not isinstance(found, dict):
        raise UsageError(f"{name} has no fields. Get an empty form:  chest access form -o {name}")
    return found


def render_yaml(value: object) -> str:
    """Render JSON values as YAML: keys in their order, texts of several lines as blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Texts of several lines as blocks, lists indented."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    def represent(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, represent)
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _create_loader() -> Any:
    """Create a loader that makes texts of all values, and refuses a key that is there twice, and aliases.

    Aliases of aliases are some bytes that stand for more values than can be read.
    """
    import yaml

    class Loader(yaml.BaseLoader):  # type: ignore[misc]
        """Its mappings have each key once, and it has no aliases."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "an alias (*name) is not allowed: repeat the text", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ARG002
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                    problem = f"{key.value} is there twice" if isinstance(key, yaml.ScalarNode) else "a key is no word"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            found: dict[Any, Any] = super().construct_mapping(node, deep=True)
            return found

    return Loader
