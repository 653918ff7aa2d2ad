"""Finds markup that is built from something else than constants, numbers and what escapes."""

import ast
import re
from collections.abc import Iterator

#: The beginning of an element of HTML or SVG.
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*[\s>/]|<!doctype", re.IGNORECASE)
#: Calls whose result is markup whatever they are given, or a number.
ESCAPES = {"escape", "quoteattr", "show", "_to_html", "_to_markdown", "int", "len"}
#: Marks a text as markup that nothing escapes.
_MARKS = {"md", "Html", "Markup", "HTML", "MarkdownMetadataValue"}
#: What marimo takes text for that is not markup.
_PLAIN = {"plain_text", "notebook_dir", "stop", "image", "hstack", "vstack"}


def _is_escaped(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name(id=name)) if name in ESCAPES:
            return True
        case ast.Call(func=ast.Attribute(attr="join", value=ast.Constant()), args=[argument]):
            return _is_escaped(argument)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id=name), *_]):
            return name in ESCAPES
        case ast.GeneratorExp(elt=made) | ast.ListComp(elt=made):
            return _is_escaped(made)
        case ast.JoinedStr(values=parts):
            return all(_is_escaped(part) for part in parts)
        case ast.FormattedValue(value=value, format_spec=ast.JoinedStr(values=[ast.Constant(value=str(form))])):
            return form[-1] in ",df%" or _is_escaped(value)  # a format of numbers refuses texts
        case ast.FormattedValue(value=value):
            return _is_escaped(value)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            return _is_escaped(one) and _is_escaped(other)
    return False


def find_interpolated(code: str) -> Iterator[str]:
    """What texts with tags in them are filled with that is not escaped on the spot, and what is marked as markup."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.JoinedStr(values=parts) if any(
                isinstance(part, ast.Constant) and _TAG.search(str(part.value)) for part in parts
            ):
                yield from (
                    ast.unparse(part.value)
                    for part in parts
                    if isinstance(part, ast.FormattedValue) and not _is_escaped(part)
                )
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if name in _MARKS:
                if not isinstance(first, ast.Constant):
                    yield f"{name}({ast.unparse(first)})"


def find_markup_in_notebook(code: str) -> Iterator[str]:
    """Calls of marimo that could show a text as markup: all but constants, plain text, and elements within elements.

    Labels of elements are Markdown.
    """
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="mo"), attr="md"), args=[ast.Constant()], keywords=[]):
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id="mo"), attr=name)) if name in _PLAIN:
                continue
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="mo"), attr="ui"))):
                if all(isinstance(word.value, ast.Constant) for word in node.keywords if word.arg in ("label", None)):
                    continue
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="mo"))):
                yield ast.unparse(node)
            case ast.ImportFrom(module=str(module)) if module.startswith("marimo"):
                yield ast.unparse(node)
    yield from _find_other_names(code)


def _find_other_names(code: str) -> Iterator[str]:
    """Names of `mo` that are called by another name: `show = mo.md`."""
    tree = ast.parse(code)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="mo"), attr=name) if name != "ui" and id(node) not in called:
                yield ast.unparse(node)
