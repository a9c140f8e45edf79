"""Values that the processes of a training exchange, dozens of times in each step."""

from __future__ import annotations

import os
from time import perf_counter, sleep
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from torch import Tensor

# A process that sleeps is woken late: an exchange then takes a millisecond, where the
# others are a tenth of that behind. For longer it is better to sleep, as cores may be
# needed, such as by the first process when it validates.
_AWAKE_S = 0.02


def all_gather(own: Tensor) -> Tensor:
    """Return the values of all processes, one after the other.

    For few values gloo takes half as long as to add them up.
    """
    rows = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    _wait(dist.all_gather(rows, own, async_op=True), own)
    return torch.stack(rows)


def all_reduce(own: Tensor) -> Tensor:
    """Return the sum of a value over all processes, without gradient."""
    total = own.detach().clone()
    _wait(dist.all_reduce(total, async_op=True), own)
    return total


def broadcast(own: Tensor) -> Tensor:
    """Return the value of the first process; all give one of this shape."""
    value = own.clone()
    _wait(dist.broadcast(value, 0, async_op=True), own)
    return value


def _wait(work: dist.Work, own: Tensor) -> None:
    # what a GPU exchanges is waited for by the GPU
    if not own.is_cuda:
        until = perf_counter() + _AWAKE_S
        while not work.is_completed() and perf_counter() < until:
            _give_way()
    work.wait()


def _give_way() -> None:
    """Let another thread have the core, such as gloo's own."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        sleep(0)
