"""Finds SQL that is built from something else than constants, `identifier(…)`, `literal(…)` and numbers.

It follows what reaches a connection, or a template of sql/, backwards through a module: local names, loops, helpers
that return SQL. What it cannot follow it reports, so that somebody looks at it.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

#: Calls whose first argument is SQL; of `fill` all arguments become SQL, of those that are judged the second.
_RUN = {"execute", "executemany", "sql", "query", "extract_statements", "fetch", "followed_by"}
_JUDGED = {"check_plan", "check_tree", "check_scans", "check_places", "admit_query", "parse_query", "extract_rows"}
#: Calls whose result is SQL whatever they are given.
_QUOTES = {"identifier", "literal", "int", "len", "find_catalogue"}
_FILES = {"read", "read_statements", "list_files"}
_WRAPS = {"sorted", "list", "tuple", "reversed", "set", "enumerate", "dict", "zip"}
#: Modules of ours that return what sql/ declares, and nothing that was read elsewhere.
_OWN = {"columns", "dicom_dictionary", "migrations", "public_views", "spelling", "sql_files"}
_TEXT_METHODS = {"strip", "rstrip", "lstrip", "items", "values", "removeprefix", "removesuffix"}


@dataclass(frozen=True)
class Found:
    """An expression that reaches SQL: where, and its source."""

    module: str
    function: str
    line: int
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.function, self.source


@dataclass
class _Scope:
    """A function, or the module: what its names are given, and which are its parameters."""

    name: str
    node: ast.AST
    parameters: set[str] = field(default_factory=set)
    around: "_Scope | None" = None

    @cached_property
    def given(self) -> dict[str, list[ast.expr]]:
        found: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.node) if self.around else _outside_functions(self.node):
            for target, value in _iterate_bindings(node):
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
        return found


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _outside_functions(child)


def _iterate_bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.Assign():
            for target in node.targets:
                # One by one where they stand side by side, so that each name is followed by itself.
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    yield from zip(target.elts, node.value.elts, strict=False)
                elif not isinstance(target, ast.Attribute):
                    yield target, node.value
        case ast.AnnAssign(value=ast.expr() as value) | ast.AugAssign(value=value) | ast.NamedExpr(value=value):
            yield node.target, value
        case ast.For() | ast.comprehension():
            # The keys of a dictionary by themselves, its values by themselves.
            match node.target, node.iter:
                case ast.Tuple(elts=[key, value]), ast.Call(func=ast.Attribute(attr="items", value=of)):
                    yield key, ast.Call(ast.Attribute(of, "keys"), [], [])
                    yield value, of
                case ast.Tuple(elts=[number, value]), ast.Call(func=ast.Name("enumerate"), args=[of, *_]):
                    yield number, ast.Constant(0)
                    yield value, of
                case _:
                    yield node.target, node.iter
        case ast.Call(func=ast.Attribute(attr="append" | "extend" | "insert" | "add", value=ast.Name() as name)):
            yield name, node.args[-1]


def find_unquoted(text: str, module: str) -> list[Found]:
    """What in a module's source reaches SQL without being quoted."""
    tree = ast.parse(text)
    return list(dict.fromkeys(_Module(tree, module).find_all()))


def without_arguments(source: str) -> str:
    """The source of an expression; of a call only what is called."""
    node = ast.parse(source, mode="eval").body
    return ast.unparse(node.func) if isinstance(node, ast.Call) else source


class _Module:
    def __init__(self, tree: ast.Module, name: str) -> None:
        self.tree, self.name = tree, name
        self.top = _Scope("", tree)
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self.seen: set[tuple[str, str]] = set()

    def find_all(self) -> Iterator[Found]:
        for scope, call in self.calls(self.tree, self.top):
            for argument in _list_sql_arguments(call):
                yield from self.find_in(argument, scope)

    def calls(self, node: ast.AST, scope: _Scope) -> Iterator[tuple[_Scope, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inner = self.scope_of(child, scope) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
            if isinstance(child, ast.Call):
                yield inner, child
            yield from self.calls(child, inner)

    def scope_of(self, function: ast.FunctionDef | ast.AsyncFunctionDef, around: _Scope | None = None) -> _Scope:
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        return _Scope(function.name, function, {one.arg for one in every if one}, around or self.top)

    def find_in(self, node: ast.AST | None, scope: _Scope) -> Iterator[Found]:
        """The parts of an expression that are not known to be SQL of our own."""
        match node:
            case None | ast.Constant():
                return
            case ast.JoinedStr():
                for part in node.values:
                    if isinstance(part, ast.FormattedValue):
                        yield from self.find_in(part.value, scope)
            case ast.Starred() | ast.Subscript() | ast.Await():
                yield from self.find_in(node.value, scope)
            case ast.BinOp():
                yield from self.find_in(node.left, scope)
                yield from self.find_in(node.right, scope)
            case ast.BoolOp():
                for value in node.values:
                    yield from self.find_in(value, scope)
            case ast.IfExp():
                yield from self.find_in(node.body, scope)
                yield from self.find_in(node.orelse, scope)
            case ast.List() | ast.Tuple() | ast.Set():
                for element in node.elts:
                    yield from self.find_in(element, scope)
            case ast.Dict():
                for value in node.values:
                    yield from self.find_in(value, scope)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                yield from self.find_in(node.elt, scope)
            case ast.DictComp():
                yield from self.find_in(node.value, scope)
            case ast.Attribute() if node.attr.isupper():
                return  # a constant of another module
            case ast.Attribute():
                if next(self.find_in(node.value, scope), None):
                    yield self.found(node, scope)
            case ast.Name():
                yield from self.find_in_name(node, scope)
            case ast.Call():
                yield from self.find_in_call(node, scope)
            case _:
                yield self.found(node, scope)

    def find_in_name(self, node: ast.Name, scope: _Scope) -> Iterator[Found]:
        if node.id in scope.parameters:
            yield from self.find_in_callers(node, scope)
        if node.id not in scope.given:
            if node.id not in scope.parameters:
                if scope.around:
                    yield from self.find_in_name(node, scope.around)
                elif not node.id.strip("_").isupper():
                    yield self.found(node, scope)
            return
        where = scope
        if (where.name, node.id) in self.seen:
            return
        self.seen.add((where.name, node.id))
        for value in where.given[node.id]:
            yield from self.find_in(value, where)
        self.seen.discard((where.name, node.id))

    def find_in_callers(self, node: ast.Name, scope: _Scope) -> Iterator[Found]:
        """What the calls in this module give for a parameter; the parameter itself where there is no call."""
        function = self.functions[scope.name]
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args) if one.arg not in ("self", "cls")]
        if (scope.name, node.id) in self.seen:
            return
        self.seen.add((scope.name, node.id))
        given = []
        for where, call in self.calls(self.tree, self.top):
            if _get_name(call.func) == scope.name:
                given += [(where, word.value) for word in call.keywords if word.arg == node.id]
                given += [(where, value) for name, value in zip(names, call.args, strict=False) if name == node.id]
        if not given:
            yield self.found(node, scope)
        for where, value in given:
            yield from self.find_in(value, where)
        self.seen.discard((scope.name, node.id))

    def find_in_call(self, node: ast.Call, scope: _Scope) -> Iterator[Found]:
        name = _get_name(node.func)
        module = _get_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name in _QUOTES or name == "fill" or (name in _FILES and module in ("", "sql_files")) or module in _OWN:
            return  # the arguments of `fill` are judged where it is called
        if name == "keys" and isinstance(node.func, ast.Attribute):
            yield from self.find_in_keys(node.func.value, scope)
            return
        if name == "join":
            yield from self.find_in(node.args[0], scope)
        elif name == "map":
            if _get_name(node.args[0]) not in _QUOTES:
                yield self.found(node, scope)
        elif name in _WRAPS:
            for argument in node.args:
                yield from self.find_in(argument, scope)
        elif name in _TEXT_METHODS and isinstance(node.func, ast.Attribute):
            yield from self.find_in(node.func.value, scope)
        elif isinstance(node.func, ast.Name) and (helper := self.functions.get(name)):
            yield from self.find_in_returns(helper)
        else:
            yield self.found(node, scope)

    def find_in_keys(self, node: ast.expr, scope: _Scope) -> Iterator[Found]:
        """The keys of a dictionary that is written out; else the dictionary itself."""
        given = scope.given.get(node.id, []) if isinstance(node, ast.Name) else [node]
        for value in given or [node]:
            if isinstance(value, ast.Dict):
                for key in filter(None, value.keys):
                    yield from self.find_in(key, scope)
            else:
                yield from self.find_in(value, scope)

    def find_in_returns(self, helper: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Found]:
        """What a helper of the same module gives back."""
        if ("def", helper.name) in self.seen:
            return
        self.seen.add(("def", helper.name))
        scope = self.scope_of(helper)
        for node in ast.walk(helper):
            if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
                yield from self.find_in(node.value, scope)
        self.seen.discard(("def", helper.name))

    def found(self, node: ast.AST, scope: _Scope) -> Found:
        return Found(self.name, scope.name, getattr(node, "lineno", 0), ast.unparse(node))


def _get_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _list_sql_arguments(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call that are SQL, or become SQL."""
    name = _get_name(call.func)
    if name in _RUN and isinstance(call.func, ast.Attribute):
        return call.args[:1]
    if name in _JUDGED:
        return call.args[1:2]
    if name == "fill":
        return [*call.args, *(word.value for word in call.keywords)]
    return []
