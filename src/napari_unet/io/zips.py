"""Zip files of other programs, which may be damaged anywhere."""

from __future__ import annotations

import zlib
from lzma import LZMAError
from zipfile import BadZipFile

DAMAGED = (
    BadZipFile,
    EOFError,
    LZMAError,
    RuntimeError,  # a password, or a way of packing that is not known
    UnicodeDecodeError,
    zlib.error,
)
"""What Python raises when it reads a damaged one."""
