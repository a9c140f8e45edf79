"""What the jobs say of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_jobs import predict_job, stored_image, train_job
from napari_unet.core import jobs
from napari_unet.core.jobs import (
    FreeMemoryJob,
    Job,
    LoadModelJob,
    PredictFolderJob,
    RemotePredictFolderJob,
    SegmentJob,
)
from napari_unet.core.remote_messages import RemoteRun
from napari_unet.core.settings import Segmentation

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [k for k in vars(jobs).values() if isinstance(k, type) and issubclass(k, Job)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Job])
def test_each_kind_has_a_title(kind: type[Job]) -> None:
    assert kind.title is not Job.title


def test_titles_name_images_and_models_without_their_folders(tmp_path: Path) -> None:
    image = stored_image(tmp_path, np.zeros((4, 4), np.float32), "yx")
    predict = predict_job(tmp_path / "out", "model.safetensors", image)
    preview = replace(predict, preview=True)
    train = train_job(
        tmp_path / "run", output=str(tmp_path / "nuclei 14.03.safetensors")
    )
    cells = SegmentJob(
        probabilities=predict.probabilities,
        axes="cyx",
        spacing_um=None,
        cells=predict.probabilities,
        ndim=2,
        settings=Segmentation(),
        classes=(),
        places=(),
        name="image",
    )
    assert [job.title for job in (train, predict, preview, cells)] == [
        "Train nuclei 14.03",
        "Predict image",
        "Preview of image",
        "Cells of image",
    ]
    folder = PredictFolderJob("models/a.safetensors", "data/slices", "results")
    assert folder.title == "Predict the images in slices"
    remote = RemoteRun(where="me@host", job="0" * 32)
    far = RemotePredictFolderJob("a.safetensors", "data/slices", "out", remote=remote)
    assert far.title == "Predict the images in slices on me@host"
    assert LoadModelJob("models/a.safetensors").title == "Load a"
    assert FreeMemoryJob().title == "Free memory"


def test_napari_lists_what_takes_a_while() -> None:
    listed = {kind.__name__ for kind in KINDS if not kind.brief} - {"Job"}
    assert listed == {
        "TrainJob",
        "RemoteTrainJob",
        "SuggestJob",
        "PredictJob",
        "PredictFolderJob",
        "RemotePredictJob",
        "RemotePredictFolderJob",
        "ExportJob",
        "SaveImageJob",
        "ConvertModelJob",
        "ExportModelJob",
    }
    unattended = {kind.__name__ for kind in KINDS if kind.unattended}
    assert unattended == {
        "LoadModelJob",
        "ModelFormatsJob",
        "FreeMemoryJob",
        "SurveyJob",
        "PlanJob",
    }
