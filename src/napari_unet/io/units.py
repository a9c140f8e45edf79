"""Conversion of lengths in files to micrometres."""

from __future__ import annotations

import math

# Symbols and names of OME's UnitsLength and of NGFF. OME's "pixel" and "reference
# frame" are not lengths, and unlisted units are unknown like them.
_METRES = {
    "Y": ("yotta", 1e24),
    "Z": ("zetta", 1e21),
    "E": ("exa", 1e18),
    "P": ("peta", 1e15),
    "T": ("tera", 1e12),
    "G": ("giga", 1e9),
    "M": ("mega", 1e6),
    "k": ("kilo", 1e3),
    "h": ("hecto", 1e2),
    "da": ("deca", 1e1),
    "": ("", 1.0),
    "d": ("deci", 1e-1),
    "c": ("centi", 1e-2),
    "m": ("milli", 1e-3),
    "µ": ("micro", 1e-6),
    "n": ("nano", 1e-9),
    "p": ("pico", 1e-12),
    "f": ("femto", 1e-15),
    "a": ("atto", 1e-18),
    "z": ("zepto", 1e-21),
    "y": ("yocto", 1e-24),
}
_INCH = 25400.0

# The case of a symbol counts (Mm, mm), that of a name does not.
_SYMBOLS = {f"{prefix}m": size * 1e6 for prefix, (_, size) in _METRES.items()} | {
    "um": 1.0,
    "Å": 1e-4,
    "å": 1e-4,
    "thou": _INCH / 1000,
    "mil": _INCH / 1000,
    "li": _INCH / 12,
    "line": _INCH / 12,
    "pt": _INCH / 72,
    "in": _INCH,
    '"': _INCH,
    "ft": _INCH * 12,
    "yd": _INCH * 36,
    "mi": _INCH * 63360,
    "ua": 149597870700e6,
    "au": 149597870700e6,
    "ly": 9460730472580800e6,
    "pc": 3.0856775814913673e22,
}
_NAMES = {f"{name}meter": size * 1e6 for name, size in _METRES.values()} | {
    "micron": 1.0,
    "angstrom": 1e-4,
    "ångström": 1e-4,
    "inch": _INCH,
    "foot": _INCH * 12,
    "feet": _INCH * 12,
    "yard": _INCH * 36,
    "mile": _INCH * 63360,
    "parsec": 3.0856775814913673e22,
}


def micrometres(length: float, unit: str) -> float | None:
    """Convert a length, None if the unit is not a length or the length not positive.

    The unit is a symbol or an English name, as OME, NGFF and ImageJ write them; ImageJ
    escapes the letter µ.
    """
    if not math.isfinite(length) or length <= 0:
        return None
    # "Âµ" is µ in UTF-8 that was read as Latin-1
    for written in ("\\u00B5", "μ", "Âµ"):
        unit = unit.replace(written, "µ")
    size = _size(unit.strip())
    found = None if size is None else length * size
    return found if found and math.isfinite(found) else None


def _size(word: str) -> float | None:
    lower = word.lower()
    for symbol in (word, lower):  # some programs write UM and Mm; Mm is a megametre
        if symbol in _SYMBOLS:
            return _SYMBOLS[symbol]
    name = lower.replace("metre", "meter")
    # "microns", "inches" and the like; no unit here ends in s itself.
    for spelling in (name, name.removesuffix("s"), name.removesuffix("es")):
        if spelling in _NAMES:
            return _NAMES[spelling]
    return None
