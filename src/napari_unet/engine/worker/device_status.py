"""What the device that networks compute on is, and how full its memory is."""

from __future__ import annotations

import torch

from napari_unet.core.messages import Status
from napari_unet.engine.device import choose_device, describe, why_not_cuda
from napari_unet.engine.worker.process import memory_in_use


def device_status() -> Status:
    """Return the status of the device that is chosen by itself."""
    device = choose_device()
    if device.type == "cuda":
        used, total = torch.cuda.memory_reserved(device), _total(device)
        return Status(0, describe(device), "", used, total)
    # an Apple GPU shares the memory of the machine
    why = "" if device.type == "mps" else f"No GPU is used: {why_not_cuda()}."
    return Status(0, describe(device), why, *memory_in_use())


def _total(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)
