"""What the worker writes through maps of files, on a disk that is full."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_jobs import discs, predict_job, stored_annotation, stored_image
from example_models import random_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.core.jobs import SegmentJob, WeightsJob
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.settings import BorderWeights, Segmentation
from napari_unet.engine.worker import cells_job, prediction_job, weights_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="sets aside space in another way"
)
SIZE = 200


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the system set aside no more space from a call on."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "posix_fallocate", refuse)


def jobs(folder: Path) -> dict[str, Iterator[Any]]:
    """Jobs that write into sparse files, each ready to begin."""
    model = folder / "model.safetensors"
    save_model(
        random_model(u_shape(ndim=2, width=2, depth=1, channels=1, classes=2)), model
    )
    pixels, labels = discs(size=SIZE)
    predict = predict_job(
        folder / "out", str(model), stored_image(folder, pixels, "yx")
    )
    preview = replace(predict, preview=True)
    assert predict.classes is not None
    found = np.stack([labels == 1, labels > 1]).astype(np.float32)
    cells = SegmentJob(
        stored_image(folder, found, "cyx", "found").channels[0],
        "cyx",
        None,
        ArrayReference.create(folder / "cells.raw", (SIZE, SIZE), "int32"),
        2,
        Segmentation(),
        (ClassInfo(),),
        ((0, 0),),
    )
    weights = WeightsJob(
        stored_annotation(folder, labels, "yx"),
        0,
        0,
        (1.0, 1.0),
        BorderWeights(),
        ArrayReference.create(folder / "weights.raw", (SIZE, SIZE), "float32"),
    )
    cache = ModelCache()
    return {
        "predict": prediction_job.run(predict, Context(Task(1, predict), cache)),
        "preview": prediction_job.run(preview, Context(Task(2, preview), cache)),
        "cells": cells_job.run(cells),
        "weights": weights_job.run(weights),
    }


@pytest.mark.parametrize("kind", ["predict", "preview", "cells", "weights"])
def test_a_full_disk_is_an_error_of_the_job(
    tmp_path: Path, full: Callable[[], None], kind: str
) -> None:
    job = jobs(tmp_path)[kind]
    full()
    with pytest.raises(OSError, match=r"\.raw: cannot be written, the disk is full"):
        list(job)


@pytest.mark.parametrize("kind", ["predict", "preview", "cells", "weights"])
def test_on_a_disk_with_space_it_is_done(tmp_path: Path, kind: str) -> None:
    assert list(jobs(tmp_path)[kind])
