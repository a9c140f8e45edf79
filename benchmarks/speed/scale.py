"""What prediction on many workers costs besides the work, see docs/scale.md."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.speed.gigapixel import write_nuclei
from benchmarks.speed.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SIDE = 32768
# Parts of cells, those of a row of blocks, and the share of them that have a pair.
_PARTS, _ROWS, _PAIRED = 10**8, 100, 1 / 16
_CHUNKS = 10**5
_STEPS = 2000


def scale(folder: Path) -> list[Row]:
    """Measure what is done once for all blocks, and what comes on top of each."""
    return [
        *_in_a_process("merge", folder, _merge_rows),
        *_in_a_process("publish", folder, _publish_rows),
        *_in_a_process("steps", folder, _step_rows),
        *_in_a_process("thread", folder, _thread_rows),
    ]


def on_two_workers(folder: Path) -> list[Row]:
    """Predict 32768 × 32768 on this machine's two workers, and by one process."""
    image = folder / "image.zarr"
    write_nuclei(image, _SIDE)
    took = {}
    for name, more in (("one", []), ("two", ["--cluster", "local:2"])):
        command = [sys.executable, "-m", "napari_unet.cli.main", "predict", "nuclei"]
        command += [str(image), "--output", str(folder / name), *more]
        command += ["--save", "classes,instances", "--precision", "fp32"]
        began = perf_counter()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        took[name] = perf_counter() - began
    differ = sum(_differing(folder, kind) for kind in ("classes", "instances"))
    what = f"predict {_SIDE} × {_SIDE} with cells on local:2"
    found = f"{took['two']:.0f} s and {took['one']:.0f} s"
    against = "one process"
    return [
        Row(f"{what}: time", against, took["two"] / took["one"], "≤", 1.1, " ×", found),
        Row(f"{what}: pixels that differ", against, differ, "≤", 0),
    ]


def _differing(folder: Path, kind: str) -> int:
    from napari_unet.io.images import read_image

    one, two = (read_image(folder / n / kind / "image.zarr") for n in ("one", "two"))
    differ = 0
    for y in range(0, _SIDE, 2048):
        rows = slice(y, y + 2048)
        differ += int(np.count_nonzero(one.data[rows] != two.data[rows]))
    return differ


def _in_a_process(what: str, folder: Path, rows: Any) -> list[Row]:
    """Measure in a process of its own, whose peak memory is that of the work."""
    command = [sys.executable, "-m", "benchmarks.speed.scale", what, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[Row] = rows(json.loads(done.stdout))
    return found


def _merge_rows(found: dict[str, float]) -> list[Row]:
    what = f"numbers of {_PARTS:.0e} parts of cells, {_ROWS} rows of blocks"
    given = f"{found['pairs']:.0f} pairs; {found['cells']:.0f} cells"
    return [
        Row(f"{what}: CPU", "–", found["seconds"], "≤", 60, " s", given),
        Row(f"{what}: peak memory", "–", found["peak_gb"], "≤", 4, " GB", given),
    ]


def _merge(_: Path) -> dict[str, float]:
    from napari_unet.core.cells.merging import Slab, merged

    each = _PARTS // _ROWS

    def slabs() -> Iterator[Slab]:
        # drawn anew each time, as they are read from notes: not all are in memory
        for row in range(_ROWS):
            rng = np.random.default_rng(row)
            steps = rng.integers(1, 20, each)
            first = rng.permutation(np.cumsum(steps)) + row * 20 * each
            yield Slab(first, rng.random(each) < 1e-4)

    rng = np.random.default_rng(0)
    pairs = int(_PARTS * _PAIRED)
    one = rng.integers(1, _PARTS + 1, pairs)
    other = np.clip(one - rng.integers(0, each, pairs), 1, None)
    same: NDArray[np.int64] = np.stack([one, other], 1)
    began, cells = process_time(), 0
    drawn = -process_time()
    for _slab in slabs():
        pass
    drawn += process_time()
    began = process_time()
    for table in merged(slabs, [each] * _ROWS, same):
        cells = max(cells, int(table.max()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seconds = process_time() - began - drawn
    return {"seconds": seconds, "peak_gb": peak, "pairs": pairs, "cells": cells}


def _publish_rows(found: dict[str, float]) -> list[Row]:
    what = f"give an array of {_CHUNKS:.0e} chunks its name"
    given = f"{found['flushes']:.0f} flushes; {found['cpu']:.1f} s of CPU"
    return [Row(what, "–", found["seconds"], "≤", 5, " s", given)]


def _publish(folder: Path) -> dict[str, float]:
    from napari_unet.io.resumable_output import ResumableOutput

    side = round(_CHUNKS**0.5)
    target = folder / "published.zarr"
    flushes = [0]
    flush = os.fsync

    def counted(fd: Any) -> None:
        flushes[0] += 1
        flush(fd)

    with ResumableOutput(folder / "unfinished", {}) as work:
        out = work.array("cells", target, (side, side), "yx", np.uint8, chunk=1)
        inner = Path(str(out.data.store.root)) / "c"
        for y in range(side):  # as zarr would; its own writing is not what is measured
            (inner / str(y)).mkdir(parents=True)
            for x in range(side):
                (inner / str(y) / str(x)).write_bytes(b"chunk")
        os.fsync = counted
        began, cpu = perf_counter(), process_time()
        work.publish({"cells": target})
        took = perf_counter() - began
    cpu = process_time() - cpu
    return {"seconds": took, "cpu": cpu, "flushes": flushes[0]}


def _step_rows(found: dict[str, float]) -> list[Row]:
    given = f"{_STEPS} steps that do nothing; {found['most']:.0f} on their way at most"
    return [
        Row(
            "driver, scheduler and two workers for a step, all in one process: CPU",
            "–",
            found["each_ms"],
            "≤",
            4,
            " ms",
            given,
        )
    ]


def _steps(folder: Path) -> dict[str, float]:
    from distributed import Client, LocalCluster

    from napari_unet.engine.cluster import executor
    from napari_unet.engine.inference.steps import Step
    from napari_unet.io.resumable_output import ResumableOutput

    setattr(executor, "run_step", nothing)  # noqa: B010 - it is in use there
    steps = [Step("nothing", 0, k) for k in range(_STEPS)]
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
        ResumableOutput(folder / "steps", {}) as work,
    ):
        geometry: Any = None
        sending = executor.Dask(client, work, geometry)
        began = process_time()
        for _step, _event in sending.run(steps, lambda *_: ()):
            pass
        took = process_time() - began
        work.done("all")
    return {"each_ms": 1000 * took / _STEPS, "most": sending.most}


def nothing(*_: Any, job: Any) -> tuple[()]:
    """Stand for a step of a worker."""
    return ()


def _thread_rows(found: dict[str, float]) -> list[Row]:
    given = f"{found['thread']:.2f} s and {found['main']:.2f} s for 5 tiles"
    what = "a tile in a thread of a process with MALLOC_ARENA_MAX=1: CPU"
    ratio = found["thread"] / found["main"]
    return [Row(what, "in the main thread", ratio, "≤", 1.05, " ×", given)]


def _thread(_: Path) -> dict[str, float]:
    """Run tiles in a child's main thread, and in another of a child like a worker."""
    took = {}
    for where in ("main", "thread"):
        command = [sys.executable, "-m", "benchmarks.speed.scale", "tile", where]
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        )
        took[where] = float(done.stdout)
    return took


def _tile(where: str) -> float:
    from threading import Thread

    from napari_unet.engine.network.network import prepare
    from napari_unet.io.model_file import load_model
    from napari_unet.io.pretrained import model_path

    network = prepare(load_model(model_path("nuclei")), "cpu", "fp32")
    size = network.geometry.input_size(network.geometry.output_covering((1024, 1024)))
    window = np.zeros((network.geometry.channels, *size), np.float32)
    took = []

    def tiles() -> None:
        network.probabilities(window)
        began = process_time()
        for _ in range(5):
            network.probabilities(window)
        took.append(process_time() - began)

    if where == "main":
        tiles()
    else:
        thread = Thread(target=tiles)
        thread.start()
        thread.join()
    return took[0]


def main() -> None:
    """Measure one of them and print what was found."""
    what, place = sys.argv[1], sys.argv[2]
    if what == "tile":
        print(_tile(place))
        return
    works = {"merge": _merge, "publish": _publish, "steps": _steps, "thread": _thread}
    print(json.dumps(works[what](Path(place))))


if __name__ == "__main__":
    main()
