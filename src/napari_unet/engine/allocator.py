"""Memory of the CPU that is freed is kept for what comes next.

Each tile and each step of training needs the same large arrays anew. By default the C
library gives such an array back to the system when it is freed and asks for it again at
once, and the system fills each page with zeros: that takes a good part of the time.

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
    """Have this process keep what it frees; with other C libraries than glibc nothing.

    What was given back, by `give_back`, is not kept. Threads have the same if there was
    none before this call: arenas that exist stay in use. Where other programs begin
    threads, `MALLOC_ARENA_MAX=1` in the environment does it.
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
