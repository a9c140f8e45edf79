from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from napari_unet.engine.allocator import give_back, keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1])

def work():
    for _ in range(10):
        torch.ones(2**24)

if sys.argv[1] == "keep":
    keep_freed_memory()
work()
before = faults()
work()
taken, kept = faults() - before, resident()
give_back()
print(taken, kept - resident())
"""
PAGES = 2**24 * 4 // 4096  # of one array


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_used_again_until_it_is_given_back(keep: bool) -> None:
    command = [sys.executable, "-c", SCRIPT, "keep" if keep else "not"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, given = (int(n) for n in done.stdout.split())
    if keep:
        assert taken < 0.1 * PAGES
        assert given > 0.9 * PAGES
    else:
        assert taken > 5 * PAGES
        assert given < 0.1 * PAGES
