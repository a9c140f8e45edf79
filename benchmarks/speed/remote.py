"""A bundle: how large it is, and how long it takes there and back."""

from __future__ import annotations

import os
import sys
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from benchmarks.speed.row import Row, timed
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.images.image import Field, Image
from napari_unet.core.remote_messages import RemoteRun
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.remote_job import RemoteJob, remote_events
from napari_unet.io.bundle import write_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PLANES, _SIDE = 100, 1024


def bundle_there_and_back(folder: Path) -> list[Row]:
    """Pack 100 annotated planes, and send them to a process in place of ssh."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, (_PLANES, _SIDE, _SIDE), np.uint16)
    image = Image(pixels, "zyx", name="stack")
    labels = np.zeros((_SIDE, _SIDE), np.int32)
    for number in range(400):
        y, x = divmod(number, 20)
        labels[50 * y + 5 : 50 * y + 35, 50 * x + 5 : 50 * x + 35] = number + 2

    def pairs(_: int) -> Iterator[tuple[Field, Annotation]]:
        for z in range(_PLANES):
            yield Field(image, 0, z), Annotation(labels)

    path = folder / "bundle.zip"

    def pack() -> None:
        deque(write_bundle(path, pairs, Training.quick()), maxlen=0)

    packing = timed(pack)
    _fake_ssh(folder)
    run = RemoteRun(where="remote", job=uuid4().hex)
    job = RemoteJob(run, folder / "model", folder / "preview")
    going = timed(lambda: deque(remote_events(job, path, lambda: "resume"), maxlen=0))
    size, raw = path.stat().st_size, pixels.nbytes
    return [
        Row(
            f"bundle of {_PLANES} annotated planes of {_SIDE}²",
            "its pixels",
            size / raw,
            "≤",
            1.1,
            " ×",
            f"{size / 1e6:.0f} MB and {raw / 1e6:.0f} MB",
        ),
        Row(
            "that bundle packed, there and back over a process in place of ssh",
            "",
            packing + going,
            "≤",
            5.0,
            " s",
            f"packed in {packing:.2f} s, there and back in {going:.2f} s",
        ),
    ]


def _fake_ssh(folder: Path) -> None:
    program = folder / "bin"
    program.mkdir()
    script = program / "ssh"
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m benchmarks.speed.remote_end\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    os.environ["PATH"] = f"{program}{os.pathsep}{os.environ['PATH']}"
    os.environ["NAPARI_UNET_JOBS"] = str(folder / "jobs")
