from __future__ import annotations

import pytest

from napari_unet.io.units import micrometres


@pytest.mark.parametrize(
    ("length", "unit", "expected"),
    [
        (0.65, "micron", 0.65),
        (0.65, "µm", 0.65),  # U+00B5, the sign
        (0.65, "μm", 0.65),  # U+03BC, the Greek letter
        (0.65, "\\u00B5m", 0.65),  # escaped, as ImageJ writes it
        (0.65, "Âµm", 0.65),  # in UTF-8, read as Latin-1
        (2, "Micrometers", 2.0),
        (2, "micrometre", 2.0),
        (65, "nm", 0.065),
        (0.002, "mm", 2.0),
        (0.5, "cm", 5000.0),
        (2, "inch", 50800.0),
        (2, "inches", 50800.0),
        (5, "Å", 0.0005),
        (1e-6, "m", 1.0),
        (0.000005, "dm", 0.5),
        (3, "Mm", 3e12),
        (3, "mm", 3000.0),
        (3, "MM", 3000.0),
        (1e-30, "Ym", 1.0),
        (1e18, "ym", 1.0),
        (4, "thou", 101.6),
        (1, "li", 25400 / 12),
        (1, "pt", 25400 / 72),
        (1, "ft", 304800.0),
        (1, "yard", 914400.0),
        (1, "mi", 1609344000.0),
        (2, "Decimeters", 200000.0),
    ],
)
def test_a_length_becomes_micrometres(
    length: float, unit: str, expected: float
) -> None:
    assert micrometres(length, unit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("length", "unit"),
    [
        (1, "pixel"),
        (1, "reference frame"),
        (float("nan"), "µm"),
        (1, ""),
        (1, "s"),
        (0, "µm"),
        (-1, "µm"),
        (float("inf"), "µm"),
    ],
)
def test_what_is_no_length_is_unknown(length: float, unit: str) -> None:
    assert micrometres(length, unit) is None
