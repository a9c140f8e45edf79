"""The choice of device and precision, and the free memory of a device."""

from __future__ import annotations

import gc
import os
import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_unet.core.text import counted
from napari_unet.engine.allocator import give_back
from napari_unet.engine.memory_share import available

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Precision = Literal["fp32", "bf16", "fp16"]

DEVICE = "NAPARI_UNET_DEVICE"
"""Environment variable with the device that auto means."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str = "auto") -> torch.device:
    """Return the device to compute on: auto, cpu, cuda, cuda:N or mps.

    auto is what the variable `DEVICE` says; unless it says another, CUDA is preferred,
    then MPS, then the CPU. One that is unknown or missing is a ValueError.
    """
    given, wanted = wanted, as_usual(wanted)
    name = "device" if given == wanted else DEVICE
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    named = re.fullmatch("cpu|mps|cuda(?::([0-9]+))?", wanted)
    if named is None:
        raise ValueError(
            f"{name} must be auto, cpu, cuda, cuda:N or mps, found {wanted!r}."
        )
    if wanted.startswith("cuda") and int(named[1] or 0) >= torch.cuda.device_count():
        raise ValueError(f"{name} {wanted!r} is not there: {why_not_cuda()}.")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"{name} 'mps' is not there: this is not a Mac with Metal.")
    return torch.device(wanted)


def as_usual(wanted: str) -> str:
    """Return a device as wanted; in place of auto what the variable `DEVICE` says."""
    return (os.environ.get(DEVICE) if wanted == "auto" else None) or wanted


def why_not_cuda() -> str:
    """Return a sentence on the number of CUDA devices, or why there is none."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} CUDA device(s) found"
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return "the installed torch is built for the CPU only"
    return "torch finds no NVIDIA GPU or its driver is too old"


def why_not_gpu() -> str:
    """Return why the default device is no GPU, or which GPUs torch finds."""
    usual = as_usual("auto")
    return why_not_cuda() if usual == "auto" else f"{DEVICE} is {usual}"


def choose_precision(device: torch.device, wanted: str = "auto") -> Precision:
    """Return the precision: 16 bits only where the hardware computes them natively.

    One that is unknown, or fp16 for a CPU, is a ValueError.
    """
    if wanted == "auto":
        return _native_precision(device)
    if wanted not in _DTYPES:
        raise ValueError(
            f"precision must be auto, fp32, bf16 or fp16, found {wanted!r}."
        )
    if wanted == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 is for GPUs; a CPU takes fp32 or bf16.")
    precision: Precision = wanted  # type: ignore[assignment]
    return precision


def dtype(precision: Precision) -> torch.dtype:
    """Return the torch type of a precision."""
    return _DTYPES[precision]


def single(values: ArrayLike, device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor of single precision: Apple's GPUs have no double."""
    return torch.as_tensor(np.asarray(values, np.float32), device=device)


def free_memory(device: torch.device) -> int:
    """Return the free memory of a device, in bytes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
            device
        )
        return free + cached
    return available()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on any device."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in str(error).lower()
        or "can't allocate memory" in str(error)
    )


def release_memory(device: torch.device) -> None:
    """Give cached memory back after an out-of-memory error."""
    gc.collect()
    give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def describe(device: torch.device) -> str:
    """Name a device for people."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({counted(torch.get_num_threads(), 'thread')})"
    return str(device)


def _native_precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        if major >= 8:
            return "bf16"
        return "fp16" if major == 7 else "fp32"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16"
    return "fp32"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; emulating it is slower than fp32."""
    # older torch versions cannot tell: fp32 is then the safe answer
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return native and _onednn_takes_bf16()


def _onednn_takes_bf16() -> bool:
    """Whether oneDNN uses bfloat16: ONEDNN_MAX_CPU_ISA may forbid it."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is None or bool(supported())
