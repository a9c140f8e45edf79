"""Memory that this process may still take: of the machine, of its share of it.

In a container, and in a job of a cluster, a control group has a limit far below the
memory of the machine, and the system ends whoever goes beyond it. A worker of a Dask
cluster has one that its cluster gave it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Files of a group that hold its limit and its use, and what counts as used there but
# is given up when memory gets short; of version 2 and 1 of control groups.
_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)

# Of this process, in bytes; None: no other than the system's.
_share: int | None = None


def set_share(limit: int | None) -> None:
    """Bound the memory of this process, in bytes."""
    global _share
    _share = limit


def available() -> int:
    """Return the bytes that can still be taken."""
    free = [int(psutil.virtual_memory().available), *_in_groups()]
    if _share is not None:
        free.append(_share - psutil.Process().memory_info().rss)
    return max(min(free), 0)


def _in_groups() -> list[int]:
    """Return what is left in each group around this process that has a limit."""
    left = []
    with suppress(OSError, ValueError):
        for line in _OWN.read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            for version, maximum, used, cached in _FILES:
                if version in controllers.split(","):
                    top = _GROUPS / version
                    group = top / own.strip("/")
                    for folder in (group, *group.parents):
                        if folder.is_relative_to(top):
                            left += _left(folder, maximum, used, cached)
    return left


def _left(folder: Path, maximum: str, used: str, cached: str) -> list[int]:
    """Return what is left in one group; nothing where it has no limit."""
    try:
        limit = int((folder / maximum).read_text())  # "max" is no number
        taken = int((folder / used).read_text())
        rows = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return []
    given_up = sum(int(row.split()[1]) for row in rows if row.split()[0] == cached)
    return [limit - taken + given_up]
