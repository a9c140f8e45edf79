"""Lengths as files write them, in micrometres."""

from __future__ import annotations

import math

_MICROMETRES = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
    '"': 25400.0,
}


def micrometres(length: float, unit: str) -> float | None:
    """Convert a length, None if the unit is none of length or the length not positive.

    Parameters
    ----------
    length : float
        In `unit`.
    unit : str
        A symbol or an English name, as OME, NGFF and ImageJ write them; ImageJ
        escapes the letter µ.
    """
    if not math.isfinite(length) or length <= 0:
        return None
    word = unit.strip().replace("\\u00B5", "µ").replace("μ", "µ").lower()
    word = word.replace("metre", "meter")
    # "microns", "inches" and the like; no unit here ends in s itself.
    for spelling in (word, word.removesuffix("s"), word.removesuffix("es")):
        if spelling in _MICROMETRES:
            return length * _MICROMETRES[spelling]
    return None
