"""Whether the system ended a process because memory ran out, as far as it tells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# Of the whole machine, and of the container that this process runs in.
_COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))


def processes_ended_for_memory() -> int:
    """Count the processes that the system has ended because memory ran out.

    Returns
    -------
    int
        Since the machine started; 0 on systems that do not count them (Linux does).
        Only a difference between two calls says something.
    """
    return sum(_count(counter) for counter in _COUNTERS)


def _count(counter: Path) -> int:
    with suppress(OSError, ValueError):
        for line in counter.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
