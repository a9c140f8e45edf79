"""The curve as a picture: scores by the number of annotated images, as SVG.

Written by hand and not by a library, so that the report needs none and the same results
give the same file, which a test compares. Colours are those of Okabe and Ito, which
colour-blind people tell apart; each line has a mark or dashes of its own, too. On its
own white ground it can be read on dark pages as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import floor, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# In pixels: the picture, and in it the left, upper, right and lower end of the axes.
_SIZE = 780, 460
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 24, 500, 404
_LEGEND, _ROW = 528, 22
_COUNTS = (1, 5, 10, 20)
_INK, _FAINT, _OTHERS = "#222222", "#D0D0D0", "#666666"
# Side by side, so that marks and whiskers do not hide each other: lines, and to the
# left of them what others published.
_APART, _BESIDE = 6, 20
_MARKS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-4-4h8v8h-8z",
    "triangle": "M0-5L5 4H-5z",
    "diamond": "M0-5L5 0L0 5L-5 0z",
    "cross": "M-4-4L4 4M-4 4L4-4",
    "plus": "M-5 0H5M0-5V5",
}
_OF_OTHERS = ("triangle", "diamond", "cross", "plus")


@dataclass(frozen=True, slots=True)
class Line:
    """One way to learn.

    Attributes
    ----------
    label : str
        For the legend.
    values : dict of int to float
        Scores, up to 1, by the number of images.
    low : float or None
        The end of a whisker at one image.
    colour, mark, dash : str
        How it is drawn.
    """

    label: str
    values: Mapping[int, float]
    low: float | None
    colour: str
    mark: str
    dash: str


def picture(lines: Sequence[Line], published: Mapping[str, Mapping[int, float]]) -> str:
    """Return the picture of lines, and of what others published as single points."""
    every = [v for line in lines for v in (*line.values.values(), line.low)]
    every += [v for values in published.values() for v in values.values()]
    least = floor(10 * min(v for v in every if v is not None)) / 10
    parts = [*_frame(least), *_legend(lines, published)]
    for mark, values in zip(_OF_OTHERS, published.values(), strict=True):
        parts += [
            _mark(mark, _x(n) - _BESIDE, _y(v, least), _OTHERS)
            for n, v in values.items()
        ]
    for number, line in enumerate(lines):
        shift = _APART * (number - (len(lines) - 1) / 2)
        parts += _line(line, shift, least)
    width, height = _SIZE
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="sans-serif" font-size="13">',
            "<title>AP@0.5 by the number of annotated images</title>",
            f'<rect width="{width}" height="{height}" rx="6" fill="#FFFFFF"/>',
            *parts,
            "</svg>\n",
        )
    )


def _frame(least: float) -> Iterator[str]:
    """Yield the axes; the lowest tick is at `least`, in tenths."""
    for tenth in range(round(10 * least), 11):
        y = _y(tenth / 10, least)
        yield _stroke(f"M{_LEFT} {y:.1f}H{_RIGHT}", _FAINT, 1)
        yield _text(_LEFT - 8, y + 4, f"{tenth / 10:.1f}", "end")
    for count in _COUNTS:
        yield _text(_x(count), _BOTTOM + 20, str(count), "middle")
    yield _stroke(f"M{_LEFT} {_BOTTOM}H{_RIGHT}", _INK, 1)
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "annotated images", "middle")
    middle = (_TOP + _BOTTOM) / 2
    turned = f'<g transform="translate(18 {middle:.1f}) rotate(-90)">'
    yield f"{turned}{_text(0, 0, 'AP@0.5', 'middle')}</g>"


def _legend(
    lines: Sequence[Line], published: Mapping[str, Mapping[int, float]]
) -> Iterator[str]:
    y = _TOP + 10.0
    for line in lines:
        yield _stroke(f"M{_LEGEND} {y}h28", line.colour, 2, line.dash)
        yield _mark(line.mark, _LEGEND + 14, y, line.colour)
        yield _text(_LEGEND + 36, y + 4, line.label)
        y += _ROW
    if any(line.low is not None for line in lines):
        yield _stroke(f"M{_LEGEND + 14} {y - 7}v14m-4 0h8", _INK, 1.5)
        yield _text(_LEGEND + 36, y + 4, "to the 10th percentile")
        y += _ROW
    yield _text(_LEGEND, y + _ROW / 2, "published, other test images:")
    y += 1.5 * _ROW
    for mark, label in zip(_OF_OTHERS, published, strict=True):
        yield _mark(mark, _LEGEND + 14, y, _OTHERS)
        yield _text(_LEGEND + 36, y + 4, label)
        y += _ROW


def _line(line: Line, shift: float, least: float) -> Iterator[str]:
    points = [(_x(n) + shift, _y(line.values[n], least)) for n in sorted(line.values)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield _stroke(f"M{path}", line.colour, 2, line.dash)
    if line.low is not None:
        x, y = points[0]
        end = _y(line.low, least)
        whisker = f"M{x:.1f} {y:.1f}V{end:.1f}M{x - 4:.1f} {end:.1f}h8"
        yield _stroke(whisker, line.colour, 1.5)
    for x, y in points:
        yield _mark(line.mark, x, y, line.colour)


def _x(count: int) -> float:
    """Return the place of a number of images, by its logarithm."""
    inside = 36
    share = log(count) / log(_COUNTS[-1])
    return _LEFT + inside + share * (_RIGHT - _LEFT - 2 * inside)


def _y(score: float, least: float) -> float:
    return _BOTTOM - (score - least) / (1 - least) * (_BOTTOM - _TOP)


def _stroke(path: str, colour: str, width: float, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashes}/>'
    )


def _mark(name: str, x: float, y: float, colour: str) -> str:
    return (
        f'<path d="{_MARKS[name]}" transform="translate({x:.1f} {y:.1f})" '
        f'fill="#FFFFFF" stroke="{colour}" stroke-width="2"/>'
    )


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_INK}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
