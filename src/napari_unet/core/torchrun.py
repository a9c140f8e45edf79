"""Rank and size of a group of processes, from the environment of `torchrun`."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a group."""

    rank: int  # 0 for the first
    size: int
    # among those of this machine
    local_rank: int
    local_size: int
    restarts: int = 0  # how often the group was restarted


def this_member() -> Member | None:
    """Return the rank and group of this process; None without a group.

    Other launchers for `torch.distributed`, such as srun, set the same variables: RANK,
    WORLD_SIZE and MASTER_ADDR.
    """
    there = os.environ
    if "MASTER_ADDR" not in there or "RANK" not in there:
        return None
    size = int(there.get("WORLD_SIZE", 1))
    if size < 2:
        return None
    return Member(
        rank=int(there["RANK"]),
        size=size,
        local_rank=int(there.get("LOCAL_RANK", 0)),
        local_size=int(there.get("LOCAL_WORLD_SIZE", 1)),
        restarts=int(there.get("TORCHELASTIC_RESTART_COUNT", 0)),
    )
