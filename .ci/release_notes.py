#!/usr/bin/env python3
"""Print what CHANGELOG.md says of a version, which must be the package's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(version: str, package: str, changes: str) -> str:
    """Return the section of a version.

    Raises
    ------
    ValueError
        The package has another version, or the changes have no such section.
    """
    found = re.search(r'^__version__ = "([^"]+)"', package, re.MULTILINE)
    if found is None or found[1] != version:
        raise ValueError(
            f"the tag says {version}, src/napari_unet/__init__.py "
            f"{found[1] if found else 'nothing'}."
        )
    part = re.search(
        rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)",
        changes,
        re.MULTILINE | re.DOTALL,
    )
    if part is None or not part[1].strip():
        raise ValueError(f"CHANGELOG.md has no section [{version}].")
    return part[1].strip()


if __name__ == "__main__":
    texts = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("src/napari_unet/__init__.py", "CHANGELOG.md")
    )
    try:
        print(notes(sys.argv[1], *texts))
    except ValueError as error:
        sys.exit(f"release: {error}")
