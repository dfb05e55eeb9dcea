"""The mutants of a module: one small change each, in the body of a function.

Text for people, annotations, decorators and default values are not changed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ("Module", "Mutant")

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
#: Fields that are not run in the function: annotations, decorators, parameters.
_NOT_RUN = frozenset({"annotation", "returns", "decorator_list", "args", "type_params", "type_comment"})


@dataclass(frozen=True)
class Mutant:
    """One change of a node, which is the field of another node."""

    module: str
    function: str
    line: int
    end: int
    #: The first and the last line of the function.
    first: int
    last: int
    before: str
    after: str
    #: Which of the equal changes in the function it is.
    number: int
    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST

    @property
    def name(self) -> str:
        """The name, which stays the same while other functions change."""
        number = f" #{self.number}" if self.number > 1 else ""
        return f"{self.module} {self.function}: {self.before} -> {self.after}{number}"


class Module:
    """The source of a module, and its mutants."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.import_name = "antiphon." + self.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        self.source = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)
        self.mutants = tuple(self._find())

    def compile(self, mutant: Mutant | None = None) -> CodeType:
        """Compile the module with a mutant. Changes the tree, so that a process can compile one mutant only."""
        if mutant is not None:
            if mutant.index is None:
                setattr(mutant.parent, mutant.field, mutant.replacement)
            else:
                getattr(mutant.parent, mutant.field)[mutant.index] = mutant.replacement
        return compile(self.tree, str(self.path), "exec", dont_inherit=True)

    def _find(self) -> Iterator[Mutant]:
        counted: Counter[tuple[str, str, str]] = Counter()
        for function, first, last, parent, field, index, line in _walk(self.tree):
            node = _current(parent, field, index)
            before = ast.unparse(node)
            for replacement in _replacements(node, parent):
                ast.fix_missing_locations(ast.copy_location(replacement, node))
                key = (function, _shorten(before), _describe(replacement))
                counted[key] += 1
                yield Mutant(
                    self.name,
                    function,
                    line,
                    getattr(node, "end_lineno", line),
                    first,
                    last,
                    *key[1:],
                    counted[key],
                    parent,
                    field,
                    index,
                    replacement,
                )


def _current(parent: ast.AST, field: str, index: int | None) -> Any:
    value = getattr(parent, field)
    return value if index is None else value[index]


def _describe(replacement: ast.AST) -> str:
    match replacement:
        case ast.If():
            return "deleted"
        case ast.Assign(targets=[target], value=ast.IfExp()):
            return f"{ast.unparse(target)} = None"
        case ast.Return():
            return "return None"
        case _:
            return _shorten(ast.unparse(replacement))


def _shorten(code: str) -> str:
    code = " ".join(code.split())
    return code if len(code) <= 100 else f"{code[:97]}..."


def _walk(tree: ast.Module) -> Iterator[tuple[str, int, int, ast.AST, str, int | None, int]]:
    """Yield the place of each node in a function: the function and its lines, the parent, the field, the index, the line."""

    def visit(node: ast.AST, scope: str, lines: tuple[int, int] | None, line: int) -> Iterator[Any]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if _is_for_type_checkers(node):
                return
            scope = f"{scope}.{node.name}" if scope else node.name
            if not isinstance(node, ast.ClassDef):
                lines = (node.lineno, node.end_lineno or node.lineno)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "_typing.TYPE_CHECKING"):
            return
        for field, value in ast.iter_fields(node):
            # `args` are the parameters of a function, but the arguments of a call.
            if field in _NOT_RUN and not (field == "args" and isinstance(node, ast.Call)):
                continue
            members = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, member in members:
                if not isinstance(member, ast.AST) or _is_docstring(member):
                    continue
                at = getattr(member, "lineno", line)
                if lines is not None:
                    yield scope, *lines, node, field, index, at
                yield from visit(member, scope, lines, at)

    yield from visit(tree, "", None, 0)


def _is_for_type_checkers(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    protocol = isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
    return protocol or any(name.endswith("overload") for name in decorators)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacements(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=comparators):
            if type(operator) in _COMPARISONS:
                yield ast.Compare(left, [_COMPARISONS[type(operator)]()], comparators)
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=operator, right=right):
            if type(operator) in _OPERATIONS:
                yield ast.BinOp(left, _OPERATIONS[type(operator)](), right)
        case ast.Constant(value=value):
            yield from _other_constants(value, parent)
        case ast.Return(value=value):
            if value is None:
                yield _delete(node)
            elif not isinstance(value, ast.Constant):
                yield ast.Return(_none_instead_of(value))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete():
            yield _delete(node)
        case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(target=ast.Name(), value=value):
            # Deleted, the name would be missing, which every test notices.
            if value is not None and not isinstance(value, ast.Constant):
                name = node.targets[0] if isinstance(node, ast.Assign) else node.target
                yield ast.Assign([name], _none_instead_of(value))
        case ast.Assign() | ast.AnnAssign(value=ast.expr()):
            yield _delete(node)
        case ast.AugAssign(target=target, op=operator, value=value):
            yield _delete(node)
            if type(operator) in _OPERATIONS:
                yield ast.AugAssign(target, _OPERATIONS[type(operator)](), value)
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    if isinstance(parent, ast.If | ast.While | ast.IfExp) and node is parent.test and not _is_negated_already(node):
        yield ast.UnaryOp(ast.Not(), node)


# The original code stays, without being run. Otherwise the function could lose a variable of its closure, or a `yield`.
def _delete(statement: ast.stmt) -> ast.stmt:
    return ast.If(ast.Constant(False), [statement], [])


def _none_instead_of(value: ast.expr) -> ast.expr:
    return ast.IfExp(ast.Constant(True), ast.Constant(None), value)


def _is_negated_already(node: ast.AST) -> bool:
    """Return whether another mutant of the node has the opposite truth value."""
    negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    comparison = isinstance(node, ast.Compare) and len(node.ops) == 1 and _is_exact(node.ops[0])
    return negation or comparison or isinstance(node, ast.Constant)


def _is_exact(operator: ast.cmpop) -> bool:
    return isinstance(operator, ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn)


def _other_constants(value: object, parent: ast.AST) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and value and " " not in value and not _is_text(parent):
        yield ast.Constant(f"other{value}")


def _is_text(parent: ast.AST) -> bool:
    """Return whether a text in this place is for people or type checkers only."""
    if isinstance(parent, ast.Call):
        return ast.unparse(parent.func) in ("cast", "typing.cast", "_typing.cast")
    return isinstance(parent, ast.JoinedStr | ast.FormattedValue | ast.BinOp)
