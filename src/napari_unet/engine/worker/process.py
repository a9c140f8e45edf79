"""The worker as a process: its priority, memory and status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_unet.core.messages import Status

if TYPE_CHECKING:
    from napari_unet.engine.worker.channel import Channel
    from napari_unet.engine.worker.inbox import JobInbox

_SECONDS = 1.0
# Niceness relative to napari: the CPU worker, for which people wait, precedes training.
NETWORK_NICE, CPU_NICE = 10, 5
# Of 1000: high enough that the kernel ends the worker and not napari.
_OOM_SCORE = "500"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def lower_priority(steps: int) -> None:
    """Give napari and other programs precedence."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        with suppress(OSError):
            os.nice(steps)


def offer_for_ending() -> None:
    """Make the system end this process before napari if memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def report_status(channel: Channel, inbox: JobInbox, *, networks: bool) -> None:
    """Send the status every second, and detect when napari has ended.

    With `networks` it is that of the device that networks compute on; torch must be
    loaded.
    """
    status = _device_status if networks else _cpu_status
    # the connection shows this too, unless a child of napari holds it open
    while not inbox.closing:
        if _is_gone(channel.parent):
            inbox.abandon()
            return
        channel.send(status())
        inbox.sleep(_SECONDS)


def _is_gone(parent: int) -> bool:
    if sys.platform == "win32":
        return not psutil.pid_exists(parent)
    return os.getppid() != parent


def _cpu_status(device: str = "cpu", why_not_gpu: str = "") -> Status:
    """Return the memory of this process, and that of the machine or container."""
    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):
        total = min(total, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    used = int(psutil.Process().memory_info().rss)
    return Status(0, device, why_not_gpu, used, total)


def _device_status() -> Status:
    """Return the status of the default device."""
    # not at the top: the CPU worker never loads torch
    import torch

    from napari_unet.engine.device import choose_device, describe, why_not_gpu

    device = choose_device()
    if device.type == "cuda":
        used = torch.cuda.memory_reserved(device)
        total = int(torch.cuda.get_device_properties(device).total_memory)
        return Status(0, describe(device), "", used, total)
    # an Apple GPU shares the memory of the machine
    why = "" if device.type == "mps" else f"No GPU is used: {why_not_gpu()}."
    return _cpu_status(describe(device), why)
