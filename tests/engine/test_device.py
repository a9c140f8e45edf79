from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from napari_unet.core.text import counted
from napari_unet.engine import device as module
from napari_unet.engine import memory_share
from napari_unet.engine.device import (
    DEVICE,
    choose_device,
    choose_precision,
    describe,
    dtype,
    free_memory,
    is_out_of_memory,
    release_memory,
    why_not_cuda,
    why_not_gpu,
)

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda:0", "mps"))


def has(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    """Let torch find some hardware, whatever this machine has."""
    monkeypatch.delenv(DEVICE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_cuda_is_preferred_to_mps_and_mps_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, cuda=1, mps=True)
    assert choose_device() == torch.device("cuda:0")
    has(monkeypatch, mps=True)
    assert choose_device("auto") == torch.device("mps")
    has(monkeypatch)
    assert choose_device("auto") == torch.device("cpu")


def test_the_environment_names_what_auto_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, cuda=2, mps=True)
    for name in ("cpu", "cuda:1", "mps"):
        monkeypatch.setenv(DEVICE, name)
        assert choose_device() == torch.device(name)
        assert why_not_gpu() == f"NAPARI_UNET_DEVICE is {name}"
        # one that is chosen is taken
        assert choose_device("cuda:0") == torch.device("cuda:0")
    for name in ("", "auto"):
        monkeypatch.setenv(DEVICE, name)
        assert choose_device() == torch.device("cuda:0")
        assert why_not_gpu() == "2 CUDA device(s) found"
    has(monkeypatch)
    for name, said in (("gpu", "must be auto, cpu"), ("cuda", "'cuda' is not there")):
        monkeypatch.setenv(DEVICE, name)
        with pytest.raises(ValueError, match=f"^NAPARI_UNET_DEVICE {said}"):
            choose_device()


def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:10"])
def test_a_gpu_beyond_the_last_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, cuda=2)
    message = rf"device '{name}' is not there: 2 CUDA device\(s\) found\.$"
    with pytest.raises(ValueError, match=message):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_refused_with_the_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch)
    with pytest.raises(ValueError, match=f"device '{name}' is not there: .+\\.$"):
        choose_device(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpu",
        "CPU",
        "cuda:",
        "cuda:x",
        "cuda:-1",
        "cuda:٣",
        "cpu:",
        "cpu:1",
        "mps:1",
    ],
)
def test_a_device_that_is_none_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, cuda=9, mps=True)
    message = f"must be auto, cpu, cuda, cuda:N or mps, found '{re.escape(name)}'"
    with pytest.raises(ValueError, match=message):
        choose_device(name)


def test_the_reason_why_there_is_no_cuda_tells_torch_from_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert why_not_cuda() == "the installed torch is built for the CPU only"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert why_not_cuda() == "torch finds no NVIDIA GPU or its driver is too old"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((5, 2), "fp32"),
        ((6, 1), "fp32"),
        ((7, 0), "fp16"),
        ((7, 5), "fp16"),
        ((8, 0), "bf16"),
        ((9, 0), "bf16"),
        ((12, 0), "bf16"),
    ],
)
def test_a_gpu_takes_the_16_bits_it_has_natively(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision(CUDA) == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        # emulated, and slower than fp32
        ({"avx512_f": True, "avx2": True, "avx512_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_a_cpu_takes_bf16_only_if_it_multiplies_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = SimpleNamespace(get_capabilities=lambda: capabilities)
    monkeypatch.setattr(torch, "cpu", cpu)
    monkeypatch.setattr(module, "_onednn_takes_bf16", lambda: True)
    assert choose_precision(CPU, "auto") == expected
    monkeypatch.setattr(module, "_onednn_takes_bf16", lambda: False)
    assert choose_precision(CPU, "auto") == "fp32"


def test_a_torch_that_cannot_tell_means_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert choose_precision(CPU) == "fp32"
    assert choose_precision(MPS) == "fp32"


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists() or not hasattr(torch.cpu, "get_capabilities"),
    reason="needs /proc and a torch that tells what the CPU can",
)
def test_this_machines_cpu_is_judged_by_what_it_has() -> None:
    as_if = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    native = bool(flags & {"avx512_bf16", "amx_bf16"}) and not as_if
    assert choose_precision(CPU) == ("bf16" if native else "fp32")


@pytest.mark.parametrize(
    ("device", "wanted"),
    [(CPU, "fp32"), (CPU, "bf16"), (CUDA, "fp16"), (MPS, "fp16"), (CUDA, "fp32")],
)
def test_a_precision_asked_for_is_taken(device: torch.device, wanted: str) -> None:
    assert choose_precision(device, wanted) == wanted


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 is for GPUs; a CPU takes fp32 or bf16"):
        choose_precision(CPU, "fp16")


@pytest.mark.parametrize("wanted", ["", "fp64", "FP32", "float32"])
def test_an_unknown_precision_is_refused(wanted: str) -> None:
    with pytest.raises(
        ValueError, match=f"must be auto, fp32, bf16 or fp16, found '{wanted}'"
    ):
        choose_precision(CPU, wanted)


def test_precisions_are_torchs_types() -> None:
    assert dtype("fp32") is torch.float32
    assert dtype("bf16") is torch.bfloat16
    assert dtype("fp16") is torch.float16


def test_free_memory_is_that_of_the_machine_or_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 0 < free_memory(CPU) < psutil.virtual_memory().total
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 400)
    # what torch keeps without using it can be taken too
    assert free_memory(CUDA) == 1300


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
    ids=["torch", "cuda", "mps", "cpu", "other"],
)
def test_errors_of_memory_are_told_from_others(
    error: RuntimeError, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


def test_what_this_machine_says_when_memory_runs_out_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_devices_are_described_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Quick 9000")
    assert describe(CUDA) == "cuda:0 (Quick 9000)"
    assert describe(CPU) == f"cpu ({counted(torch.get_num_threads(), 'thread')})"
    assert describe(MPS) == "mps"


def test_memory_of_a_cpu_can_be_released() -> None:
    release_memory(CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_is_chosen_described_and_measured() -> None:
    device = choose_device()
    assert device.type == "cuda"
    assert choose_precision(device) in ("fp32", "fp16", "bf16")
    assert torch.cuda.get_device_name(device) in describe(device)
    before = free_memory(device)
    held = torch.empty(2**28, dtype=torch.uint8, device=device)
    assert free_memory(device) <= before - 2**27
    del held
    release_memory(device)
    assert free_memory(device) > before - 2**27


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        (
            "0::/jobs/7",
            {
                "jobs/7": ("memory.max", 1000, "memory.current", 900, "inactive_file"),
                "jobs": ("memory.max", "max", "memory.current", 5, "inactive_file"),
            },
            [1000 - 900 + 30],
        ),
        (
            "4:cpu,memory:/job",
            {
                "memory/job": (
                    "memory.limit_in_bytes",
                    600,
                    "memory.usage_in_bytes",
                    100,
                    "total_inactive_file",
                )
            },
            [600 - 100 + 30],
        ),
        ("0::/no/limit", {}, []),
    ],
)
def test_memory_is_what_is_left_of_the_own_share(
    own: str,
    files: dict[str, tuple[object, ...]],
    left: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for group, (maximum, limit, used, taken, cached) in files.items():
        folder = tmp_path / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(maximum)).write_text(f"{limit}\n")
        (folder / str(used)).write_text(f"{taken}\n")
        (folder / "memory.stat").write_text(f"anon 3\n{cached} 30\n")
    (tmp_path / "own").write_text(f"{own}\n")
    monkeypatch.setattr(memory_share, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory_share, "_OWN", tmp_path / "own")
    whole = psutil.virtual_memory().available
    assert memory_share.available() <= min([*left, whole + 2**32])
    if left:
        assert memory_share.available() == left[0]


def test_a_share_that_is_used_up_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_share, "_share", 1)
    assert free_memory(CPU) == 0
