"""A bundle of a project that was saved, made without napari."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.main import main
from napari_unet.core.annotation.annotations import FinishedPart
from napari_unet.core.training.training_settings import Training
from napari_unet.io.bundle import Bundle
from napari_unet.io.project_record import ImageSource, ProjectClass
from napari_unet.io.saved_project import SavedProject
from napari_unet.session.project.store import ProjectStore
from session.test_store import image, paint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved project: an image of two channels, one not used, one in memory."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    grey = np.random.default_rng(1).integers(0, 900, (2, 4, 8, 10), np.uint16)
    for name, pixels in zip(("one.tif", "two.tif"), grey, strict=True):
        tifffile.imwrite(pictures / name, pixels, imagej=True, metadata={"axes": "ZYX"})
    sources = tuple(
        ImageSource(path=str(pictures / name)) for name in ("one.tif", "two.tif")
    )
    part = FinishedPart(t=0, z=3, box=((0, 4), (0, 5)))
    shape = {"axes": "zyx", "shape": (4, 8, 10)}
    more = {"class_of": {7: 2}, "finished": (part,)}
    first = image("a", sources=sources, **shape, **more)
    other = image("b", name="not used", use_for_training=False)
    with contextlib.closing(ProjectStore.create(tmp_path / "projects")) as store:
        project = store.project.with_image(first).with_image(other)
        classes = ProjectClass(name="a"), ProjectClass(name="b", colour="#e69f00")
        training = Training.quick().replace(minutes=3.0, seed=5)
        store.update(project.replace(classes=classes, training=training))
        paint(store, 1, 2, 3, 7)
        store.save_as(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_project_becomes_a_bundle(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.zip"
    assert main(["bundle", str(saved), "--output", str(path), "--steps", "9"]) == 0
    bundle = Bundle(path)
    assert (bundle.settings.steps, bundle.settings.seed) == (9, 5)
    found = {(field.t, field.z): (field, known) for field, known in bundle.pairs(2)}
    with contextlib.closing(ProjectStore.open(saved, tmp_path / "again")) as store:
        places = set(store.annotation("a").places)
        assert found.keys() == places | {(0, 3)}
        one, two = (
            tifffile.imread(saved.parent / "pictures" / f"{n}.tif")
            for n in ("one", "two")
        )
        for (t, z), (field, known) in found.items():
            np.testing.assert_array_equal(field.read(), [one[z], two[z]])
            assert [c.name for c in known.classes] == ["a", "b"]
            if (t, z) in places:
                plane = store.annotation("a").plane(t, z)
                assert ((known.labels > 1) == (plane > 1)).all()
                assert known.class_of[7] == 2
    assert str(tmp_path).encode() not in path.read_bytes()
    # what it is to learn with is its own
    given = ["bundle", str(saved), "--output", str(path), "--width", "9"]
    assert main(given) == 1
    assert "a project has its own images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"saved": "", "files": {}}, "is being worked on in napari"),
        ({"project": {}}, "is damaged"),
        ({"files": {"a": "../x.tif"}}, "plain name of a file"),
    ],
)
def test_what_is_no_saved_project_is_told(
    saved: Path, capsys: pytest.CaptureFixture[str], change: object, told: str
) -> None:
    file = saved / "project.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    output = saved.parent / "x.zip"
    assert main(["bundle", str(saved), "--output", str(output)]) == 1
    assert told in capsys.readouterr().err
    assert not output.exists()


def test_an_image_that_an_older_project_left_out_is_not_learnt_from(
    saved: Path,
) -> None:
    file = saved / "project.json"
    older = file.read_text().replace('"use_for_training": true', '"ticked": false')
    file.write_text(older)
    assert not list(SavedProject(saved).pairs(2))
