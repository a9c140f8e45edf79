"""How large the code is, and what repeats in it: `make size`.

Two places share lines where runs of statements are of the same shape, one after the
other, in bodies of functions: at least two statements, and six lines of source in both
places. The shape is the syntax without names and literals. Imports, docstrings,
comments and signatures are not compared, nor are statements that only connect a signal
or put a widget into a layout (`BOILERPLATE`).
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent.parent / "src"
BOILERPLATE = {
    "addLayout",
    "addRow",
    "addSpacing",
    "addStretch",
    "addWidget",
    "connect",
    "setContentsMargins",
    "setSpacing",
}
_ALIKE_LINES, _ALIKE_STATEMENTS = 6, 2
_LONGEST = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


class Statement(NamedTuple):
    """A statement, or the head of a compound one."""

    shape: str
    first: int
    last: int


class Body(NamedTuple):
    """The statements of a function, in the order of the source."""

    module: str
    statements: list[Statement]

    def run(self, first: int, length: int) -> list[Statement]:
        """Return some of them."""
        return self.statements[first : first + length]


class Share(NamedTuple):
    """How much of a module is docstring and comment, in lines."""

    module: str
    words: int
    code: int


def main() -> None:
    """Print all figures."""
    trees = {
        module_of(file): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted(SOURCE.rglob("*.py"))
    }
    print_lines()
    print_circles(trees)
    print_alike(trees)
    print_functions(trees)
    print_words()


def module_of(file: Path) -> str:
    """Return the dotted name of a module."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def print_lines() -> None:
    """Print the lines of each folder."""
    lines: Counter[str] = Counter()
    for file in SOURCE.rglob("*.py"):
        folders = file.relative_to(SOURCE / "napari_unet").parts[:-1]
        lines["/".join(folders[:2])] += len(file.read_text("utf-8").splitlines())
    print(f"lines below src/: {lines.total():,}")
    tops = Counter[str]()
    for folder, count in lines.items():
        tops[folder.split("/")[0]] += count
    for top, total in sorted(tops.items()):
        print(f"  {top or '(package)':24}{total:8,}")
        below = {f: n for f, n in lines.items() if f.startswith(f"{top}/")}
        for folder, count in sorted(below.items()):
            print(f"    {folder:22}{count:8,}")
    print(f"  {'session + gui':24}{tops['session'] + tops['gui']:8,}")


def print_circles(trees: dict[str, ast.Module]) -> None:
    """Print the circles of imports, first of those that are carried out."""
    run = {name: set(imports(tree, trees, typed=False)) for name, tree in trees.items()}
    every = {
        name: set(imports(tree, trees, typed=True)) for name, tree in trees.items()
    }
    carried_out = circles(run)
    for title, found in (
        ("import circles", carried_out),
        (
            "import circles only with those under TYPE_CHECKING",
            [circle for circle in circles(every) if circle not in carried_out],
        ),
    ):
        print(f"{title}: {len(found)}")
        for circle in found:
            print(f"  {', '.join(circle)}")


def imports(
    tree: ast.Module, modules: dict[str, ast.Module], *, typed: bool
) -> Iterator[str]:
    """Yield the modules that one imports, at its top or in a function."""
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            left_out |= set() if typed else set(node.body)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if n in modules else str(node.module) for n in whole]
        else:
            continue
        yield from (name for name in names if name in modules)


def circles(imported: dict[str, set[str]]) -> list[list[str]]:
    """Return the modules that reach themselves, each circle once."""
    reached: dict[str, set[str]] = {}
    for module in imported:
        seen: set[str] = set()
        left = [module]
        while left:
            new = imported[left.pop()] - seen
            seen |= new
            left += new
        reached[module] = seen
    found = {
        tuple(sorted(other for other in reached[m] if m in reached[other]))
        for m in imported
        if m in reached[m]
    }
    return [list(circle) for circle in sorted(found)]


def print_alike(trees: dict[str, ast.Module]) -> None:
    """Print the places that share lines."""
    pairs = list(
        alike([body for name, tree in trees.items() for body in bodies(name, tree)])
    )
    print(f"pairs of places that share {_ALIKE_LINES} or more lines: {len(pairs)}")
    for (one, a, b), (other, c, d) in pairs:
        print(f"  {one}:{a}-{b}  {other}:{c}-{d}")


def bodies(module: str, tree: ast.Module) -> Iterator[Body]:
    """Yield the functions of a module that are in no other."""
    left: list[ast.stmt] = list(tree.body)
    for node in left:
        if isinstance(node, ast.ClassDef):
            left += node.body
        elif isinstance(node, Function):
            yield Body(module, list(flat(node.body)))


def flat(block: list[ast.stmt]) -> Iterator[Statement]:
    """Yield statements and heads of compound statements, one after the other."""
    for node in block:
        if isinstance(node, ast.Import | ast.ImportFrom) or is_left_out(node):
            continue
        inner = list(inner_statements(node))
        if not isinstance(node, Function | ast.ClassDef):
            last = inner[0].lineno - 1 if inner else node.end_lineno or node.lineno
            yield Statement(shape(node), node.lineno, max(last, node.lineno))
        yield from flat(inner)


def inner_statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield what stands directly in a compound statement, in all of its branches."""
    for _, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else ():
            if isinstance(part, ast.stmt):
                yield part
            elif isinstance(part, ast.ExceptHandler | ast.match_case):
                yield from inner_statements(part)


def is_left_out(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring or boilerplate."""
    if not isinstance(node, ast.Expr):
        return False
    called = node.value.func if isinstance(node.value, ast.Call) else None
    wires = isinstance(called, ast.Attribute) and called.attr in BOILERPLATE
    return wires or isinstance(node.value, ast.Constant)


def shape(node: ast.AST) -> str:
    """Return the syntax of a statement without names, literals and what is in it."""
    inner = [
        shape(part)
        for _, value in ast.iter_fields(node)
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, ast.AST) and not isinstance(part, ast.stmt)
    ]
    return f"({' '.join([type(node).__name__, *inner])})"


Span = tuple[str, int, int]


def alike(every: list[Body]) -> Iterator[tuple[Span, Span]]:
    """Yield pairs of runs of statements that are alike and as long as they can be."""
    starts: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for b, body in enumerate(every):
        shapes = [s.shape for s in body.statements]
        for k in range(len(shapes) - _ALIKE_STATEMENTS + 1):
            starts[tuple(shapes[k : k + _ALIKE_STATEMENTS])].append((b, k))
    for places in starts.values():
        for i, (a, j) in enumerate(places):
            for b, k in places[i + 1 :]:
                one, other = every[a], every[b]
                length = run_length(one, j, other, k)
                if a == b:
                    length = min(length, k - j)
                runs = one.run(j, length), other.run(k, length)
                if length and min(map(line_count, runs)) >= _ALIKE_LINES:
                    yield span(one, runs[0]), span(other, runs[1])


def run_length(one: Body, j: int, other: Body, k: int) -> int:
    """Return how many statements are alike from two on; 0 if they are so before."""
    a, b = one.statements, other.statements
    if j and k and a[j - 1].shape == b[k - 1].shape:
        return 0
    length = 0
    while j + length < len(a) and k + length < len(b):
        if a[j + length].shape != b[k + length].shape:
            break
        length += 1
    return length


def line_count(run: list[Statement]) -> int:
    """Return how many lines of source statements have."""
    return sum(statement.last - statement.first + 1 for statement in run)


def span(body: Body, run: list[Statement]) -> Span:
    """Return where statements are."""
    return body.module, run[0].first, run[-1].last


def print_functions(trees: dict[str, ast.Module]) -> None:
    """Print how long functions are, without signature and docstring."""
    found = sorted(
        (body_length(node), f"{name}.{node.name}")
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    )
    ninth = found[int(len(found) * 0.9)][0]
    print(f"functions: {len(found):,}; p90 {ninth} lines, longest {found[-1][0]}")
    for length, name in found[: -_LONGEST - 1 : -1]:
        print(f"  {length:4} {name}")


def body_length(node: Function) -> int:
    """Return the lines of a function after its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def print_words() -> None:
    """Print which modules have the largest share of docstrings and comments."""
    shares = [share(file) for file in sorted(SOURCE.rglob("*.py"))]
    words, code = sum(s.words for s in shares), sum(s.code for s in shares)
    print(f"docstrings and comments: {words:,} lines to {code:,} of code")
    shares = [s for s in shares if s.code > 10]
    shares.sort(key=lambda s: s.words / s.code, reverse=True)
    for one in shares[:_LONGEST]:
        print(f"  {one.words:4} to {one.code:4} {one.module}")


def share(file: Path) -> Share:
    """Count the lines of docstrings and comments of a module, and of its code."""
    text = file.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Documented) and ast.get_docstring(node) is not None:
            first = node.body[0]
            words |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    comments = set()
    code: set[int] = set()
    blank = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in blank and token.string:
            code |= set(range(token.start[0], token.end[0] + 1))
    return Share(module_of(file), len(words | (comments - code)), len(code - words))


if __name__ == "__main__":
    main()
