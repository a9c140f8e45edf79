from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.cells.neighbour_colours import neighbours
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.io.project_record import ImageSource, ProjectClass, ProjectImage
from napari_unet.session.images.layers import METADATA_KEY, find, role_of
from napari_unet.session.prediction.result_files import ResultFiles
from napari_unet.session.prediction.results import LIVE_RUN, ResultLayers

CLASSES = (ProjectClass(name="nuclei", colour="#102030"), ClassInfo(name="debris"))


def stack(shape: tuple[int, ...] = (3, 8, 10), axes: str = "zyx") -> ProjectImage:
    return ProjectImage(
        id="i1",
        name="stack",
        sources=(ImageSource(layer="stack"),),
        axes=axes,
        shape=shape,
        fingerprint="f",
    )


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(
        np.zeros((3, 8, 10), np.uint8),
        name="stack",
        scale=(2.0, 0.5, 0.5),
        translate=(10.0, 0.0, 3.0),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )
    return viewer


def results_of(viewer: ViewerModel, folder: Path, **options: Any) -> ResultLayers:
    given = {"run": "model"} | options
    results = ResultLayers(viewer, viewer.layers[0], stack(), CLASSES, folder, **given)
    results.claim()
    return results


def show(results: ResultLayers, *kinds: Any) -> None:
    """Make layers that are asked for, which the session does one by one."""
    results.show(*kinds)
    for _ in range(5):
        results.show_next()


def seen(results: ResultLayers) -> tuple[str | None, bool]:
    """Return what of the results the shared layer shows, and whether it is visible."""
    layer = results.cells_layer.layer
    return results.cells_layer.seen(results.run), layer is not None and layer.visible


def count_refreshes(layer: Any) -> list[int]:
    """Count how often napari is told to draw a layer anew."""
    calls: list[int] = []
    layer.events.set_data.connect(lambda _event: calls.append(1))
    return calls


def test_arrays_have_the_axes_of_the_image_with_classes_first(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    assert results.axes == "czyx"
    assert results.files["probability"].shape == (3, 3, 8, 10)
    assert results.files["classes"].shape == (3, 8, 10)
    stored = (
        results.files["probability"],
        results.files["classes"],
        results.files["cells"],
        results.files["entropy"],
    )
    assert [s.dtype for s in stored] == ["float32", "uint8", "int32", "float32"]
    assert all(Path(s.path).parent == tmp_path for s in stored)


def test_colours_of_an_image_are_no_axis_of_its_classes(tmp_path: Path) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((8, 10, 3), np.uint8), rgb=True)
    image = stack((8, 10, 3), "yxc")
    results = ResultLayers(viewer, layer, image, CLASSES, tmp_path, "m")
    assert results.axes == "cyx"
    assert results.files["probability"].shape == (3, 8, 10)


def test_layers_stand_where_the_image_does(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    show(results, "probability", "classes", "entropy")
    assert len(viewer.layers) == 6
    for layer in viewer.layers[1:]:
        np.testing.assert_allclose(layer.scale, (2, 0.5, 0.5))
        np.testing.assert_allclose(layer.translate, (10, 0, 3))
        assert [str(u) for u in layer.units] == ["micrometer"] * 3
        assert layer.axis_labels == ("z", "y", "x")


def test_one_layer_comes_by_itself_and_the_others_on_request(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    assert [layer.name for layer in viewer.layers] == ["stack", "Cells · stack"]
    show(results, "entropy", "probability", "classes")
    assert [layer.name for layer in viewer.layers[1:]] == [
        "P(nuclei) · stack",
        "P(debris) · stack",
        "Classes · stack",
        "Uncertainty · stack",
        "Cells · stack",
    ]
    assert viewer.layers["P(debris) · stack"].metadata[METADATA_KEY] == {
        "role": "probability",
        "source": "i1",
        "run": "model",
        "class": 2,
    }
    assert all(layer.visible for layer in viewer.layers)
    for kind in ("probability", "entropy"):
        results.drop(kind)
    assert [role_of(layer) for layer in viewer.layers] == [None, "classes", "cells"]
    assert results.shows("classes")
    assert not results.shows("probability")


def test_what_is_asked_for_and_dropped_before_it_is_made_does_not_come(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    results.show("probability")
    results.drop("probability")
    results.show_next()
    assert not find(viewer, "probability")


def test_classes_have_their_colours_and_background_none(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    layer = results_of(viewer, tmp_path).layer("classes")
    assert layer is not None
    assert list(layer.features["class"]) == ["", "nuclei", "debris"]
    colours = layer.colormap.map(np.array([0, 1, 2]))
    assert colours[0, 3] == 0
    np.testing.assert_allclose(colours[1, :3] * 255, (0x10, 0x20, 0x30), atol=0.6)
    assert colours[2, 3] == 1
    assert (colours[2] != colours[1]).any()


def test_what_a_worker_writes_is_in_the_layers(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    show(results, "probability")
    results.files["probability"].open(writable=True)[2, 1, 4, 5] = 0.75
    results.files["classes"].open(writable=True)[1, 4, 5] = 2
    probability = results.layer("probability", 2)
    classes = results.layer("classes")
    assert probability is not None
    assert classes is not None
    assert probability.data[1, 4, 5] == 0.75
    assert classes.data[1, 4, 5] == 2
    assert np.shares_memory(classes.data, results.files.arrays["classes"])


def test_a_plane_is_read_without_other_axes(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    results.files.arrays["cells"][2, 3, 4] = 7
    assert results.plane("cells", 0, 2).shape == (8, 10)
    assert results.plane("cells", 0, 2)[3, 4] == 7
    assert not results.plane("cells", 0, 1).any()


def test_only_a_plane_in_view_is_drawn(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    viewer.dims.set_current_step(0, 1)
    drawn = count_refreshes(results.layer("classes"))
    results.refresh(0, 2, "classes")
    assert drawn == []
    results.refresh(0, 1, "classes")
    assert drawn == [1]


def test_a_volume_is_in_view_in_each_of_its_slices(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    viewer.dims.set_current_step(0, 2)
    drawn = count_refreshes(results.layer("classes"))
    results.refresh(0, None, "classes")
    assert drawn == [1]


def test_in_3d_each_plane_is_in_view(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    assert results.in_view([(0, 0), (0, 1), (0, None)]) == [(0, 1), (0, None)]
    viewer.dims.ndisplay = 3
    assert results.in_view([(0, 0), (0, 1)]) == [(0, 0), (0, 1)]


def test_naparis_brush_never_paints_into_results(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    show(results, "classes")
    layers: list[Any] = [*find(viewer, "cells"), *find(viewer, "classes")]
    assert len(layers) == 2
    for layer in layers:
        # what makes napari unlock it
        viewer.dims.order = (1, 0, 2)
        viewer.dims.ndisplay = 3
        viewer.dims.ndisplay = 2
        layer.data = np.zeros_like(layer.data)
        layer.mode = "paint"
        assert (layer.editable, layer.mode) == (False, "pan_zoom")


def test_drawing_waits_and_what_waited_is_drawn_at_the_end(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    drawn = count_refreshes(results.layer("classes"))
    for _ in range(10):
        results.refresh(0, 1, "classes")
    assert drawn == [1]
    results.flush_refresh()
    results.flush_refresh()
    assert drawn == [1, 1]


def test_a_layer_that_is_slow_to_draw_is_drawn_less_often(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    for module in ("throttle", "prediction.layer_redraw"):
        name = f"napari_unet.session.{module}.monotonic"
        monkeypatch.setattr(name, lambda: clock[0])
    results = results_of(viewer, tmp_path)
    layer = results.layer("classes")
    drawn: list[int] = []

    def draw_slowly(**_: bool) -> None:
        drawn.append(1)
        clock[0] += 0.1

    monkeypatch.setattr(layer, "refresh", draw_slowly)
    for _ in range(20):
        clock[0] += 0.1
        results.refresh(0, 1, "classes")
    # drawn for 0.1 s, it rests for 0.5 s: once in 0.6 s
    assert len(drawn) == 4


def test_a_deleted_layer_is_not_missed(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    for what in ("classes", "probability", "cells", "entropy"):
        results.refresh(0, 1, what)
    results.visibility.growing([(0, 1)])
    results.flush_refresh()
    assert results.layer("classes") is None
    assert results.place_in_view() is None
    assert results.in_view([(0, 1)]) == []
    assert len(viewer.layers) == 0


def test_a_renamed_and_moved_layer_is_found(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    layer = results.layer("classes")
    assert layer is not None
    layer.name = "mine"
    viewer.layers.move(viewer.layers.index(layer), 0)
    assert results.layer("classes") is layer


def test_the_same_run_again_keeps_what_people_set(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    first = results_of(viewer, tmp_path)
    show(first, "probability")
    layer = first.layer("probability", 2)
    assert layer is not None
    layer.opacity, layer.visible, layer.name = 0.2, True, "mine"
    again = results_of(viewer, tmp_path)
    first.close()
    assert again.layer("probability", 2) is layer
    assert (layer.opacity, layer.visible, layer.name) == (0.2, True, "mine")
    again.files.arrays["probability"][2, 0, 0, 0] = 0.5
    assert layer.data[0, 0, 0] == 0.5
    assert len(viewer.layers) == 4
    shared = again.cells_layer.layer
    assert shared is not None
    assert shared.data is again.files.arrays["classes"]


def test_another_run_takes_the_layer_and_what_was_asked_for(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    first = results_of(viewer, tmp_path)
    show(first, "entropy")
    first.cells_found((0, 1))
    (layer,) = find(viewer, "cells")
    other = results_of(viewer, tmp_path, run="other", label="other")
    assert find(viewer, "cells") == [layer]
    assert (first.in_cells_layer, other.in_cells_layer) == (False, True)
    assert layer.name == "Cells (other) · stack"
    assert other.layer("entropy") is find(viewer, "entropy")[0]
    # what comes late of the first is not seen; it can be seen again as it is
    first.tile_came((0, 1), last=False)
    first.visibility.update()
    assert layer.data is other.files.arrays["classes"]
    first.claim()
    assert layer.data is first.files.arrays["classes"]
    first.cells_found((0, 1))
    assert layer.data is first.files.arrays["cells"]


def test_the_live_preview_shares_the_layer(viewer: ViewerModel, tmp_path: Path) -> None:
    results_of(viewer, tmp_path)
    preview = results_of(viewer, tmp_path, run=LIVE_RUN)
    (layer,) = find(viewer, "cells")
    assert layer.name == "Preview · stack"
    assert layer.contour == 1
    preview.tile_came((0, 1), last=True)
    assert seen(preview) == ("classes", True)


def test_a_name_that_people_gave_stays(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    viewer.layers[-1].name = "mine"
    results.cells_found((0, 1))
    results_of(viewer, tmp_path, run=LIVE_RUN)
    assert viewer.layers[-1].name == "mine"


def test_who_paints_goes_on_painting_below_nothing(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    annotation = viewer.add_labels(
        np.zeros((3, 8, 10), np.int32),
        metadata={METADATA_KEY: {"role": "annotation", "source": "i1", "run": ""}},
    )
    viewer.layers.selection.active = annotation
    results = results_of(viewer, tmp_path, run=LIVE_RUN)
    show(results, "probability")
    assert viewer.layers.selection.active is annotation
    # outlines lie on what is painted, all else below it
    assert viewer.layers[-2] is annotation
    assert role_of(viewer.layers[-1]) == "cells"
    results.remove()
    assert [role_of(layer) for layer in viewer.layers] == [None, "annotation"]


def test_cells_take_the_place_of_classes_where_they_are_found(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    layer = results.cells_layer.layer
    viewer.dims.set_current_step(0, 1)
    results.visibility.growing([(0, z) for z in range(3)])
    results.tile_came((0, 1), last=False)
    assert seen(results) == ("classes", True)
    results.cells_found((0, 1))
    assert seen(results) == ("cells", True)
    assert layer is results.cells_layer.layer
    assert layer is not None
    assert layer.data is results.files.arrays["cells"]
    viewer.dims.set_current_step(0, 2)
    results.visibility.update()
    # nothing came of this plane yet: no picture is drawn for that
    assert seen(results) == ("cells", True)
    results.tile_came((0, 2), last=False)
    assert seen(results) == ("classes", True)
    assert layer.data is results.files.arrays["classes"]


def test_cells_that_come_into_view_are_drawn_once(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    place = results.place_in_view()
    assert place is not None
    results.files.arrays["cells"][place[1]] = 1
    drawn = count_refreshes(results.cells_layer.layer)
    results.cells_found(place)
    assert seen(results) == ("cells", True)
    assert len(drawn) == 1


def test_cells_in_view_are_drawn_at_once_however_soon_they_are_found_again(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    place = results.place_in_view()
    assert place is not None
    results.cells_found(place)
    drawn = count_refreshes(results.cells_layer.layer)
    for count in (1, 2):
        results.cells_found(place)
        assert len(drawn) == count


def test_cells_that_get_other_colours_with_their_pixels_are_drawn_once(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    place = results.place_in_view()
    assert place is not None
    results.cells_found(place)
    layer: Any = results.cells_layer.layer
    colours, drawn = layer.colormap, count_refreshes(layer)
    results.files.arrays["cells"][place[1]] = 600
    results.cells.counts[place] = 600
    results.cells_found(place)
    assert layer.colormap is not colours
    assert len(drawn) == 1
    assert (layer._slice.image.raw == 600).all()
    # nothing is left for later
    results.flush_refresh()
    assert len(drawn) == 1


def test_classes_of_a_plane_of_one_tile_are_shown_if_its_cells_do_not_come(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(
        "napari_unet.session.prediction.cells_layer.monotonic", lambda: clock[0]
    )
    results = results_of(viewer, tmp_path)
    viewer.dims.set_current_step(0, 0)
    results.cells_found((0, 0))
    results.visibility.growing([(0, 0)])
    results.tile_came((0, 0), last=True)
    assert seen(results) == ("cells", True)
    clock[0] += 0.6
    results.visibility.update()
    assert seen(results) == ("classes", True)
    results.cells_found((0, 0))
    results.visibility.update()
    assert seen(results) == ("cells", True)


def test_cells_that_became_annotation_are_put_aside_until_found_again(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    viewer.dims.set_current_step(0, 1)
    results.cells_found((0, 0))
    results.cells_found((0, 1))
    cells = results.layer("cells")
    assert cells is not None
    results.visibility.put_aside((0, 1))
    assert not cells.visible
    viewer.dims.set_current_step(0, 0)
    results.visibility.update()
    assert cells.visible
    viewer.dims.set_current_step(0, 1)
    results.cells_found((0, 1))
    assert cells.visible


def test_where_cells_and_regions_are_found_both_are_seen(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    classes = (ProjectClass(name="nuclei"), ProjectClass(name="tissue", kind="regions"))
    results = ResultLayers(viewer, viewer.layers[0], stack(), classes, tmp_path, "m")
    results.claim()
    results.cells_found((0, 1))
    assert [role_of(layer) for layer in viewer.layers] == [None, "classes", "cells"]
    results.drop("classes")
    results.cells_found((0, 1))
    assert [role_of(layer) for layer in viewer.layers] == [None, "cells"]


def test_cells_that_touch_have_different_colours(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    cells = results.files.arrays["cells"]
    cells[1, :4], cells[1, 4:] = 1, 7  # the same colour, would they not touch
    results.cells.highest = 7
    results.cells_found((0, 1))
    results.neighbours_found((0, 1), neighbours(cells[1]))
    layer = results.layer("cells")
    assert layer is not None
    colours = layer.colormap.map(np.array([0, 1, 7, 2]))
    assert colours[0, 3] == 0
    assert np.abs(colours[1] - colours[2]).max() > 0.3
    # cells of another slice are told apart when one looks at them
    cells[2, :4], cells[2, 4:] = 2, 8
    results.cells.highest = 8
    results.cells_found((0, 2))
    results.neighbours_found((0, 2), neighbours(cells[2]))
    viewer.dims.set_current_step(0, 2)
    results.visibility.update()
    two, eight = layer.colormap.map(np.array([2, 8]))
    assert np.abs(two - eight).max() > 0.3


def test_what_people_chose_to_see_stays(viewer: ViewerModel, tmp_path: Path) -> None:
    results = results_of(viewer, tmp_path)
    viewer.dims.set_current_step(0, 1)
    results.visibility.growing([(0, 1)])
    results.cells_found((0, 1))
    cells = results.layer("cells")
    assert cells is not None
    cells.visible = False
    results.cells_found((0, 1))
    results.visibility.put_aside((0, 1))
    results.cells_found((0, 1))
    assert not cells.visible
    cells.visible = True
    results.visibility.update()
    results.visibility.put_aside((0, 1))
    assert not cells.visible


def test_files_go_and_layers_keep_what_they_show(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    results = results_of(viewer, tmp_path)
    results.files.arrays["classes"][0, 0, 0] = 1
    layer = results.layer("classes")
    results.close()
    assert list(tmp_path.iterdir()) == []
    assert layer is not None
    assert layer.data[0, 0, 0] == 1


def test_where_the_disk_takes_no_results_none_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def full(path: Path, shape: tuple[int, ...], dtype: str) -> ArrayReference:
        made.append(path.name)
        if len(made) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(path, shape, dtype)

    create = ArrayReference.create
    monkeypatch.setattr(ArrayReference, "create", full)
    with pytest.raises(OSError, match="No space left"):
        ResultFiles(tmp_path, (4, 8, 10), 2)
    assert len(made) == 3
    assert list(tmp_path.iterdir()) == []
