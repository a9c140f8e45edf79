from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManager

from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Pump


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two images, a.tif and b.tif."""
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 999, (40, 60))
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels.astype(np.uint16))
    return tmp_path


@pytest.fixture(autouse=True)
def readers() -> None:
    """Let napari know its own readers, which its window does otherwise."""
    PluginManager.instance().discover()


@pytest.fixture
def spaces(tmp_path: Path, pump: Pump) -> Iterator[list[Workspace]]:
    opened: list[Workspace] = []
    yield opened
    for workspace in opened:
        workspace.close()


def begin(folder: Path, pump: Pump, spaces: list[Workspace]) -> Workspace:
    root = folder / "home" / "projects"
    workspace = Workspace(ViewerModel(), pump.post, Preferences(), root)
    spaces.append(workspace)
    return workspace


def annotate_both(folder: Path, pump: Pump, spaces: list[Workspace]) -> Path:
    """Annotate both images; return the project's folder, closed."""
    workspace = begin(folder, pump, spaces)
    for name in "ab":
        (layer,) = workspace.viewer.open(folder / f"{name}.tif")
        image = workspace.images.add([layer])
        workspace.annotating.layers.show(image.id).data[5, 7] = 2
    project = workspace.store.folder
    workspace.close()
    return project


def shown(workspace: Workspace) -> dict[str, Any]:
    """Return the annotation layers of the images that are open, by name."""
    images = workspace.store.project.images
    layers = {i.name: workspace.images.annotation_layer(i.id) for i in images}
    return {name: layer for name, layer in layers.items() if layer is not None}


def test_a_project_opens_its_images(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    workspace = begin(folder, pump, spaces)
    workspace.open_project(project)
    assert workspace.open_images() == ()
    assert [layer.data[5, 7] for layer in shown(workspace).values()] == [2, 2]
    # ready to be painted
    active = workspace.viewer.layers.selection.active
    assert active is shown(workspace)["a"]


def test_images_that_moved_are_missing_until_they_are_located(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    (folder / "moved").mkdir()
    for name in "ab":
        (folder / f"{name}.tif").rename(folder / "moved" / f"{name}.tif")
    workspace = begin(folder, pump, spaces)
    workspace.open_project(project)
    missing = workspace.open_images()
    assert [image.name for image in missing] == ["a", "b"]
    assert shown(workspace) == {}
    # the other one lies beside it
    workspace.locate(missing[0].id, folder / "moved" / "a.tif")
    assert list(shown(workspace)) == ["a", "b"]
    assert workspace.open_images() == ()
    paths = [i.sources[0].path for i in workspace.store.project.images]
    assert paths == [str(folder / "moved" / f"{name}.tif") for name in "ab"]


def test_another_image_is_not_taken_for_the_one_that_moved(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    (folder / "a.tif").unlink()
    tifffile.imwrite(folder / "other.tif", np.zeros((40, 60), np.uint16))
    workspace = begin(folder, pump, spaces)
    workspace.open_project(project)
    (missing,) = workspace.open_images()
    with pytest.raises(ValueError, match=r"other\.tif is not a: its shape or pixels"):
        workspace.locate(missing.id, folder / "other.tif")
    assert workspace.store.project.image(missing.id).sources == missing.sources
    # nor does it stay open
    assert [layer.name for layer in workspace.images.candidates()] == []
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        workspace.locate(missing.id, folder / "nowhere.tif")


def test_what_cannot_be_opened_is_told_and_the_others_are_open(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    tifffile.imwrite(folder / "a.tif", np.zeros((40, 60), np.uint16))
    workspace = begin(folder, pump, spaces)
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    workspace.open_project(project)
    assert workspace.open_images() == ()
    assert list(shown(workspace)) == ["b"]
    assert [sentence.split("a.tif")[1] for sentence in told] == [
        " is not a: its shape or pixels are others."
    ]


def test_an_image_that_was_no_file_is_waited_for(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    workspace = begin(folder, pump, spaces)
    pixels = np.arange(2400, dtype=np.uint16).reshape(40, 60)
    layer = workspace.viewer.add_image(pixels, name="made")
    workspace.begin()
    workspace.viewer.layers.remove(layer)
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    assert workspace.open_images() == ()
    assert told == [
        "made is not from a file: open it as you did before, then it is found again."
    ]
    workspace.viewer.add_image(pixels, name="again")
    assert workspace.images.layers(workspace.store.project.images[0].id)


def test_a_file_that_cannot_be_read_does_not_keep_the_others_closed(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    (folder / "a.tif").write_bytes(b"II*\0 and nothing after it")
    workspace = begin(folder, pump, spaces)
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    workspace.open_project(project)
    assert workspace.open_images() == ()
    assert list(shown(workspace)) == ["b"]
    assert [sentence.split("a.tif")[1][:18] for sentence in told] == [
        " cannot be opened:"
    ]


def test_another_file_of_the_name_beside_the_one_that_moved_is_asked_for(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    project = annotate_both(folder, pump, spaces)
    (folder / "moved").mkdir()
    (folder / "a.tif").rename(folder / "moved" / "a.tif")
    (folder / "b.tif").unlink()
    tifffile.imwrite(folder / "moved" / "b.tif", np.zeros((40, 60), np.uint16))
    workspace = begin(folder, pump, spaces)
    workspace.open_project(project)
    a, b = workspace.open_images()
    workspace.locate(a.id, folder / "moved" / "a.tif")
    assert list(shown(workspace)) == ["a"]
    assert workspace.store.missing == [b]


def test_channels_in_one_layer_are_parted_again(
    folder: Path, pump: Pump, spaces: list[Workspace]
) -> None:
    """napari opens all of a file as one layer, with a slider for its channels."""
    stack = np.random.default_rng(5).integers(0, 999, (3, 2, 40, 60))
    path = folder / "stack.tif"
    options = {"imagej": True, "metadata": {"axes": "ZCYX"}}
    tifffile.imwrite(path, stack.astype(np.uint16), **options)
    workspace = begin(folder, pump, spaces)
    image = workspace.images.add(workspace.viewer.open(path))
    workspace.annotating.layers.show(image.id).data[2, 5, 7] = 2
    project = workspace.store.folder
    workspace.close()
    again = begin(folder, pump, spaces)
    again.open_project(project)
    assert again.open_images() == ()
    assert shown(again)["stack"].data[2, 5, 7] == 2
    assert [layer.name for layer in again.images.layers(image.id)] == [
        "stack channel 1",
        "stack channel 2",
    ]
    # opened by hand it is found as well, once it is added
    for layer in again.images.layers(image.id):
        again.viewer.layers.remove(layer)
    assert again.images.add(again.viewer.open(path)).id == image.id
    assert len(again.store.project.images) == 1
