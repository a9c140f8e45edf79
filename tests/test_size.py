"""The figures of `make size`."""

from __future__ import annotations

import ast

from benchmarks.size import alike, bodies, body_length, circles, imports

COPIES = '''
def one(a, b):
    """Add."""
    total = a + b
    if total > 3:
        total = f(total)
        total -= 1
    total *= 2
    total = g(total, key=1)
    return total

class Other:
    def two(self, c, d):
        import os

        first = c + d
        if first > 17:
            first = self.h(first)
            first -= 2
        {line}
        first = k(first, word=5)
        return first
'''


def _pairs(line: str) -> int:
    tree = ast.parse(COPIES.replace("{line}", line))
    return len(list(alike(list(bodies("m", tree)))))


def test_lines_of_one_shape_are_found_whatever_their_names() -> None:
    assert _pairs("first *= 9") == 0  # a method is called where a function is
    tree = ast.parse(COPIES.replace("{line}", "first *= 9").replace("self.h", "h"))
    ((one, other),) = alike(list(bodies("m", tree)))
    assert one == ("m", 4, 10)
    assert other == ("m", 16, 22)


def test_a_run_ends_where_the_shape_differs() -> None:
    assert _pairs("first = [first]") == 0


def test_circles_are_found_also_those_under_type_checking() -> None:
    trees = {
        "p.a": ast.parse("from p import b"),
        "p.b": ast.parse("def f():\n    import p.c"),
        "p.c": ast.parse("if TYPE_CHECKING:\n    from p.a import A"),
    }
    for typed, found in ((False, []), (True, [["p.a", "p.b", "p.c"]])):
        graph = {m: set(imports(t, trees, typed=typed)) for m, t in trees.items()}
        assert circles(graph) == found


def test_functions_are_measured_without_their_docstrings() -> None:
    (function,) = ast.parse(
        'def f():\n    """Say.\n\n    More.\n    """\n    x\n    y'
    ).body
    assert isinstance(function, ast.FunctionDef)
    assert body_length(function) == 2
