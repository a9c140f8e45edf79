"""Memory that this process can still allocate, within the limits of its groups.

In a container, and in a job of a cluster, a control group has a limit far below the
memory of the machine, and the system ends processes beyond it. A worker of a Dask
cluster has a limit set by the cluster.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Files with the limit and use of a control group, and fields of reclaimable memory that
# counts as used; of versions 2 and 1.
_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)

# Limit of this process in bytes; None for that of the system.
_share: int | None = None


def set_share(limit: int | None) -> None:
    """Set the limit of this process, in bytes."""
    global _share
    _share = limit


def available() -> int:
    """Return the bytes that can still be allocated."""
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
