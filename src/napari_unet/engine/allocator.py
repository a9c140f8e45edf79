"""Freed CPU memory is kept by the process for the next arrays.

Each tile and each step of training allocates the same large arrays again. By default
the C library returns them to the system when they are freed, and the system fills each
new page with zeros, which takes a good part of the time.

A thread other than the main one gets memory from an arena of its own, in which no array
above 64 MB fits and nothing is kept; so there is one arena for all.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

# Names of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1


@cache
def keep_freed_memory() -> None:
    """Make this process keep freed memory; without glibc this does nothing.

    `give_back` returns what is kept so far. It holds for threads too if there were none
    before this call, since existing arenas stay in use; otherwise
    `MALLOC_ARENA_MAX=1` in the environment does it.
    """
    if _is_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
        library.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return freed memory to the system."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
