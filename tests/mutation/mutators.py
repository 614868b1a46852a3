"""Mutants of a module: its syntax tree with one small fault in it.

Why not mutmut 3.8 or cosmic-ray 8.7: mutmut mutates function bodies alone and leaves out functions under
``@property`` and ``@lru_cache``, so the constants and half of ``accounting.py`` would stay whole; cosmic-ray
deletes no statement, drops no argument or part of a condition, and starts a process a mutant (3 to 8 s of imports).
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor"}
VARIADIC = ("digest",)
QUERY = ("where", "order_by", "limit", "desc")  # parts of an SQL query that can be left out
Place = tuple[ast.AST, str, int | None]


@dataclass(frozen=True)
class Mutant:
    """One fault: ``key`` stays the same while lines move."""

    file: str
    where: str  # qualified name of the function, or "" for the module
    change: str  # "before → after", with " (n)" for the n-th of its like in one function
    lines: range  # of the statement around it
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """File, function and change."""
        return self.file, self.where, self.change


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(source)
    seen: Counter[tuple[str, str]] = Counter()
    for (parent, name, index), where, lines in _places(tree):
        node = _get(parent, name, index)
        for changed in _changes(node):
            change = f"{_short(node)} → {_short(changed)}"
            seen[where, change] += 1
            again = seen[where, change]
            change += f" ({again})" if again > 1 else ""
            _set(parent, name, index, changed)
            text = ast.unparse(ast.fix_missing_locations(tree))
            _set(parent, name, index, node)
            yield Mutant(file, where, change, lines, text)


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _get(parent: ast.AST, name: str, index: int | None) -> ast.AST:
    value = getattr(parent, name)
    return value if index is None else value[index]  # type: ignore[no-any-return]


def _set(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def _places(tree: ast.Module) -> list[tuple[Place, str, range]]:
    """Every node that may be mutated, with its function and the lines of its statement."""
    found: list[tuple[Place, str, range]] = []

    def walk(parent: ast.AST, where: str, lines: range, *, annotation: bool) -> None:
        for name, value in ast.iter_fields(parent):
            if name in ("decorator_list", "returns", "type_params") or isinstance(parent, ast.Raise):
                continue  # the words of an error are not tested; that it is raised is
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(node, ast.AST) or _skipped(node):
                    continue
                inner, told = where, lines
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    inner = f"{where}.{node.name}".lstrip(".")
                if isinstance(node, ast.stmt):
                    last = node.body[0].lineno if hasattr(node, "body") else node.end_lineno or node.lineno
                    told = range(node.lineno, max(node.lineno, last) + 1)
                within = annotation or (name == "annotation")
                if not within or isinstance(node, ast.Constant):
                    found.append(((parent, name, index), inner, told))
                walk(node, inner, told, annotation=within)

    walk(tree, "", range(0), annotation=False)
    return found


def _skipped(node: ast.AST) -> bool:
    words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return words or isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            yield from _compared(node)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for i in range(len(values)):
                rest = values[:i] + values[i + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in ARITHMETIC:
            yield ast.AugAssign(target, ARITHMETIC[type(op)](), value)
            yield ast.Pass()
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(value=float() as value):
            yield ast.Constant(value * 2 or 1.0)
            yield ast.Constant(value / 2 or -1.0)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield from _negated(node, test)
        case ast.Return(value=value) if value is not None and _short(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Call():
            yield from _called(node)


def _compared(node: ast.Compare) -> Iterator[ast.AST]:
    for i, op in enumerate(node.ops):
        for other in COMPARISONS[type(op)]:
            yield ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)
    match node:  # (a, b) != (c, d): one pair left out
        case ast.Compare(left=ast.Tuple(elts=left), ops=ops, comparators=[ast.Tuple(elts=right)]):
            for i in range(len(left) if len(left) == len(right) else 0):
                pairs = [ast.Tuple(each[:i] + each[i + 1 :], ast.Load()) for each in (left, right)]
                yield ast.Compare(pairs[0], ops, [pairs[1]])


def _negated(node: ast.If | ast.While | ast.IfExp, test: ast.expr) -> Iterator[ast.AST]:
    if isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        return  # their own mutants do it
    fields = {**dict(ast.iter_fields(node)), "test": ast.UnaryOp(ast.Not(), test)}
    yield ast.copy_location(type(node)(**fields), node)


def _called(node: ast.Call) -> Iterator[ast.AST]:
    args, keywords, func = node.args, node.keywords, node.func
    name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
    if name in CALLS:
        other = CALLS[name]
        swapped = ast.Attribute(func.value, other) if isinstance(func, ast.Attribute) else ast.Name(other)
        yield ast.Call(swapped, args, keywords)
    if name in QUERY and isinstance(func, ast.Attribute):
        yield func.value
    if name == "Refusal" or name.endswith("Error"):
        return
    for i in range(len(args) if name in VARIADIC else 0):
        yield ast.Call(func, args[:i] + args[i + 1 :], keywords)
    default = name in ("to_bytes", "from_bytes")  # "big" is what Python takes by itself
    if len(args) > 1 and name not in VARIADIC and not default:  # a missing one in the middle is a TypeError
        yield ast.Call(func, args[:-1], keywords)
    for i in range(len(keywords)):
        yield ast.Call(func, args, keywords[:i] + keywords[i + 1 :])
