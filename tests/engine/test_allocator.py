from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from napari_unet.engine.allocator import give_back, keep_freed_memory
if sys.argv[1] == "thread":
    keep_freed_memory()  # before torch, which begins threads
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1])

def work():
    for _ in range(10):
        torch.ones(2**24)

if sys.argv[1] == "keep":
    keep_freed_memory()
if sys.argv[1] == "thread":
    from threading import Thread

    def alone(work=work):
        thread = Thread(target=work)
        thread.start()
        thread.join()

    work = alone
    # small things between large ones take some room before all of it is used again
    for _ in range(8):
        work()
work()
before = faults()
work()
taken, kept = faults() - before, resident()
give_back()
print(taken, kept - resident())
"""
PAGES = 2**24 * 4 // 4096  # of one array


def measured(how: str) -> tuple[int, int]:
    """Return pages taken by work that was done before, and given back."""
    command = [sys.executable, "-c", SCRIPT, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, given = (int(n) for n in done.stdout.split())
    return taken, given


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_with_one_arena_a_thread_uses_freed_memory_again_too() -> None:
    # ten arrays: without it, each takes all its pages anew; with it some do where small
    # things lie in the way, which addresses drawn at random decide
    assert measured("thread")[0] < 8 * PAGES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_used_again_until_it_is_given_back(keep: bool) -> None:
    taken, given = measured("keep" if keep else "not")
    if keep:
        assert taken < 0.1 * PAGES
        assert given > 0.9 * PAGES
    else:
        assert taken > 5 * PAGES
        assert given < 0.1 * PAGES
