from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.utils.interactions import mouse_press_callbacks
from npe2 import PluginManager

from napari_unet.session.images.folder_of_images import add_folder
from napari_unet.session.images.navigation import zoom_to
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.recovery import recent_projects
from napari_unet.session.project.store import ProjectStore
from napari_unet.session.workspace import Workspace
from session_bench import SessionBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(
        ViewerModel(), lambda call: call(), Preferences(), tmp_path / "projects"
    )
    yield workspace
    workspace.close()


def test_a_new_project_is_empty_and_the_old_one_is_among_the_recent(
    workspace: Workspace,
) -> None:
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.images.add([layer])
    old = workspace.store.folder
    opened: list[bool] = []
    workspace.project_opened.connect(lambda: opened.append(True))
    workspace.new_project()
    assert opened == [True]
    assert workspace.store.project.images == ()
    assert workspace.images.candidates() == [layer]
    (recent,) = workspace.recent_projects()
    assert (recent.folder, recent.images) == (old, ("blobs",))
    workspace.open_project(recent.folder)
    assert workspace.images.layers(workspace.store.project.images[0].id) == [layer]
    # the one that is open is not offered
    assert workspace.recent_projects() == []


def test_a_training_keeps_its_project(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.training, "state", "training")
    before = workspace.store
    with pytest.raises(ValueError, match="Stop the training"):
        workspace.new_project()
    assert workspace.store is before
    monkeypatch.undo()


def test_the_latest_projects_come_first_and_damaged_ones_not_at_all(
    tmp_path: Path,
) -> None:
    bench = SessionBench(tmp_path, lambda call: call())
    root = bench.store.folder.parent
    folders = []
    for number in range(3):
        if number:
            bench.annotating.close()
            bench.images.close()
            bench.sharing.close()
            bench.store.close()
            bench.open(ProjectStore.create(root))
        bench.add(np.full((8, 10), number, np.uint8), f"image {number}")
        folders.append(bench.store.folder)
        bench.store.flush()
        os.utime(bench.store.folder / "project.json", (1000 + number,) * 2)
    bench.close()
    for number, folder in enumerate(folders):
        os.utime(folder / "project.json", (1000 + number,) * 2)
    names = [p.images[0] for p in recent_projects(root)]
    assert names == ["image 2", "image 1", "image 0"]
    assert len(recent_projects(root, 1)) == 1
    (folders[1] / "project.json").write_text("{")
    assert [p.folder for p in recent_projects(root)] == [folders[2], folders[0]]


def test_all_images_of_a_folder_are_added(tmp_path: Path) -> None:
    # napari's window does this otherwise
    PluginManager.instance().discover()
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (1, 2, 10):
        pixels = np.full((6, 5), number, np.uint8)
        tifffile.imwrite(folder / f"{number}.tif", pixels)
    # of more axes than an image has
    tifffile.imwrite(folder / "9.tif", np.zeros((2, 2, 2, 2, 6, 5), np.uint8))
    bench = SessionBench(tmp_path, lambda call: call())
    told: list[tuple[str, str]] = []
    steps = add_folder(
        bench.viewer, bench.images, folder, lambda *words: told.append(words)
    )
    assert sum(1 for _ in steps) == 4
    assert [i.name for i in bench.store.project.images] == ["1", "2", "10"]
    (level, problem), (_, count) = told
    assert level == "warning"
    assert problem.startswith("9.tif was not added")
    assert count == "Added 3 images of images."
    # they lie on each other: one is seen
    every = [bench.images.layers(i.id)[0] for i in bench.store.project.images]
    assert [layer.visible for layer in every] == [False, False, True]
    bench.close()


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    bench = SessionBench(tmp_path, lambda call: call())
    with pytest.raises(FileNotFoundError):
        list(add_folder(bench.viewer, bench.images, tmp_path / "none", print))
    bench.close()


def test_images_side_by_side_keep_what_lies_on_them(workspace: Workspace) -> None:
    images, viewer = workspace.images, workspace.viewer
    ids = []
    for number, shape in enumerate([(8, 10), (4, 20), (8, 10)]):
        pixels = np.full(shape, number, np.uint8)
        ids.append(images.add([viewer.add_image(pixels, name=f"{number}")]).id)
    annotation = workspace.annotating.layers.show(ids[1])
    images.set_current(ids[0])
    assert [images.layers(i)[0].visible for i in ids] == [True, False, False]
    workspace.side_by_side.set_shown(True)
    assert all(images.layers(i)[0].visible for i in ids)
    corners = [images.layers(i)[0].extent.world[0] for i in ids]
    # two in the first line: as far apart as the widest is wide, and a bit
    assert corners[1][-1] - corners[0][-1] == pytest.approx(20 * 1.05, abs=1.1)
    assert corners[2][-2] - corners[0][-2] == pytest.approx(8 * 1.05, abs=1.1)
    np.testing.assert_allclose(annotation.extent.world[0], corners[1])
    # what is made meanwhile lies there too, and another image gets its place
    later = workspace.annotating.layers.show(ids[2])
    np.testing.assert_allclose(later.extent.world[0], corners[2])
    images.add([viewer.add_image(np.zeros((8, 10), np.uint8), name="3")])
    workspace.side_by_side.set_shown(False)
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.translate, 0, atol=1e-9)
    ids.append(images.opened()[-1].id)
    assert [images.layers(i)[0].visible for i in ids] == [False, False, False, True]


def test_an_image_opened_again_or_removed_side_by_side_goes_back_too(
    workspace: Workspace,
) -> None:
    images, viewer = workspace.images, workspace.viewer
    pixels = [np.full((8, 10), number, np.uint8) for number in range(3)]
    layers = [viewer.add_image(p, name=f"{n}") for n, p in enumerate(pixels)]
    ids = [images.add([layer]).id for layer in layers]
    workspace.side_by_side.set_shown(True)
    viewer.layers.remove(layers[1])
    again = viewer.add_image(pixels[1], name="again")
    assert images.layers(ids[1]) == [again]
    assert np.any(again.translate)
    images.remove(ids[2])
    workspace.side_by_side.set_shown(False)
    for layer in (layers[0], again, layers[2]):
        np.testing.assert_allclose(layer.translate, 0, atol=1e-9)


def test_images_hidden_by_one_project_are_seen_in_the_next(
    workspace: Workspace,
) -> None:
    images, viewer = workspace.images, workspace.viewer
    layers = [
        viewer.add_image(np.full((8, 10), n, np.uint8), name=f"{n}") for n in range(2)
    ]
    ids = [images.add([layer]).id for layer in layers]
    images.set_current(ids[1])
    assert not layers[0].visible
    old = workspace.store.folder
    workspace.new_project()
    assert layers[0].visible
    workspace.open_project(old)
    workspace.open_images()
    assert [layer.visible for layer in layers] == [True, False]


def test_a_press_on_an_image_beside_others_goes_to_it(workspace: Workspace) -> None:
    images, viewer = workspace.images, workspace.viewer
    ids = [
        images.add([viewer.add_image(np.full((8, 10), n, np.uint8), name=f"{n}")]).id
        for n in range(2)
    ]
    annotations = [workspace.annotating.layers.show(id_) for id_ in ids]
    images.set_current(ids[0])
    before = list(viewer.mouse_drag_callbacks)

    def at(id_: str, button: int = 1) -> SimpleNamespace:
        middle = images.layers(id_)[0].extent.world.mean(axis=0)
        return SimpleNamespace(
            position=tuple(middle), button=button, type="mouse_press", modifiers=()
        )

    workspace.side_by_side.set_shown(True)
    mouse_press_callbacks(viewer, at(ids[1], button=2))
    assert viewer.layers.selection.active is annotations[0]
    mouse_press_callbacks(viewer, at(ids[1]))
    assert viewer.layers.selection.active is annotations[1]
    current = images.current
    assert current is not None
    assert current.id == ids[1]
    workspace.side_by_side.set_shown(False)
    assert viewer.mouse_drag_callbacks == before


def test_saved_once_more_a_project_goes_where_it_was_saved(
    workspace: Workspace, tmp_path: Path
) -> None:
    """A file dialog enters a folder that is there: a name within is all it offers."""
    saved = tmp_path / "mitosis"
    assert workspace.store.save_as(saved) == saved
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.images.add([layer])
    assert workspace.store.save_as(saved / "project") == saved
    again = ProjectStore.open(saved, tmp_path / "elsewhere")
    assert [image.name for image in again.project.images] == ["blobs"]
    again.close()
    assert not (saved / "project").exists()
    # another project is none of its business
    workspace.new_project()
    other = saved / "other"
    assert workspace.store.save_as(other) == other


def test_a_plane_beside_a_stack_comes_into_view(workspace: Workspace) -> None:
    images, viewer = workspace.images, workspace.viewer
    camera = getattr(viewer, "scene", viewer).camera
    images.add([viewer.add_image(np.zeros((4, 8, 10), np.uint8), name="stack")])
    plane = np.zeros((16, 20), np.uint8)
    images.add([viewer.add_image(plane, name="plane", translate=(100, 200))])
    workspace.side_by_side.set_shown(True)
    workspace.side_by_side.set_shown(False)
    assert tuple(camera.center)[-2:] == (107.5, 209.5)
    near = camera.zoom
    viewer.reset_view()
    assert near > 2 * camera.zoom
    zoom_to(viewer, images.layers(workspace.store.project.images[0].id))
    assert tuple(camera.center)[-2:] == (3.5, 4.5)
