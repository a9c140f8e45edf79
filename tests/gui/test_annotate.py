from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QRadioButton,
    QSlider,
    QWidget,
)

from napari_unet.core.annotation.data_check import CheckReport, ClassCount, Finding
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.events import Checked
from napari_unet.core.images.image import Image
from napari_unet.gui.annotate import project_menu
from napari_unet.gui.annotate.add_image_dialog import READING, AddImageDialog
from napari_unet.gui.annotate.locate_image_dialog import ask_where
from napari_unet.gui.annotate.page import (
    NO_IMAGE,
    NOT_ADDED,
    SEVERAL,
    AnnotatePage,
)
from napari_unet.gui.annotate.shortcut_panel import key_table
from napari_unet.gui.main_thread import MainThread
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.session.annotating.shortcuts import SHORTCUTS
from napari_unet.session.images.layers import from_file
from napari_unet.session.images.source_files import FileMetadata
from napari_unet.session.preferences import Preferences
from napari_unet.session.project import store
from napari_unet.session.workspace import Workspace
from waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_unet.io.project_record import ProjectImage


@pytest.fixture
def workspace(viewer: ViewerModel, qtbot: QtBot) -> Iterator[Workspace]:
    main_thread = MainThread()
    workspace = Workspace(viewer, main_thread.post, Preferences())
    yield workspace
    workspace.close()
    main_thread.close()


@pytest.fixture
def page(workspace: Workspace, qtbot: QtBot) -> AnnotatePage:
    page = AnnotatePage(workspace)
    qtbot.addWidget(page)
    page.resize(320, 700)
    page.show()
    return page


def add_image(viewer: ViewerModel, *shape: int, seed: int = 0, **more: Any) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 999, shape).astype(np.uint16)
    return viewer.add_image(pixels, **more)


def click(widget: QWidget, qtbot: QtBot) -> None:
    # a layout shows what is new in it only when events are handled
    qtbot.waitUntil(widget.isVisible)
    assert widget.isEnabled(), widget
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


@pytest.fixture
def annotated(page: AnnotatePage, viewer: ViewerModel, qtbot: QtBot) -> AnnotatePage:
    """Return the page with a stack in the project, ready to paint."""
    layer = add_image(viewer, 5, 40, 60, name="embryo")
    page.images.add_layers([layer], None, 0)
    return page


def test_an_empty_page_says_what_to_do(page: AnnotatePage) -> None:
    assert page.empty.text() == NO_IMAGE
    assert not page.brush.isVisible()
    assert not page.images.add.isEnabled()
    assert "open an image first" in page.images.add.toolTip()


def test_one_press_makes_an_image_ready_to_paint(
    page: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    add_image(viewer, 40, 60, name="cells")
    assert "Press Add image" in page.empty.text()
    click(page.images.add, qtbot)
    (image,) = workspace.store.project.images
    layer = workspace.images.annotation_layer(image.id)
    assert layer is not None
    assert (layer.mode, layer.selected_label) == ("paint", 2)
    assert page.brush.cell.isChecked()
    assert page.images.list.item(0).text() == "cells"
    assert not page.empty.isVisible()


def test_a_stack_is_asked_about_its_axes(
    page: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    add_image(viewer, 5, 40, 60)
    click(page.images.add, qtbot)
    dialog = page.findChild(AddImageDialog)
    assert dialog.axes.text() == "zyx"
    dialog.axes.setText("yx")
    assert not dialog.buttons.buttons()[0].isEnabled()
    assert "found 'yx'" in dialog.problem.text()
    dialog.axes.setText("tyx")
    dialog.accept()
    assert workspace.store.project.images[0].axes == "tyx"


def test_the_axes_of_a_file_are_shown_with_where_they_are_from(
    page: AnnotatePage,
    viewer: ViewerModel,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    PluginManager.instance().discover()
    path, meta = tmp_path / "a.ome.tif", {"axes": "TYX", "PhysicalSizeX": 0.5}
    series = np.zeros((5, 40, 60), np.uint16)
    tifffile.imwrite(path, series, ome=True, metadata={**meta, "PhysicalSizeY": 0.5})
    viewer.open(path)
    click(page.images.add, qtbot)
    dialog = page.findChild(AddImageDialog)
    assert dialog.axes.text() == "tyx"
    words = "5 time points, 40 × 60 pixels of 0.5 µm."
    source = "Axes t, y, x and pixel size from the file."
    assert dialog.interpretation.text() == f"{words}\n{source}"
    dialog.axes.setText("zyx")
    assert "Axes z, y, x as you chose" in dialog.interpretation.text()
    dialog.axes.setText("tyx")
    dialog.accept()
    assert page.images.interpretation.text() == f"{words}\n{source}"
    (image,) = workspace.store.project.images
    assert (image.axes, image.spacing_um) == ("tyx", (0.5, 0.5))


def test_a_dialog_waits_for_a_file_that_is_being_read(
    page: AnnotatePage,
    viewer: ViewerModel,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PluginManager.instance().discover()
    monkeypatch.setattr("napari_unet.session.images.source_files._AT_ONCE", 0)
    posted: queue.Queue[Any] = queue.Queue()
    monkeypatch.setattr(workspace.files, "_post", posted.put)
    path = tmp_path / "a.ome.tif"
    stack = np.zeros((5, 40, 60), np.uint16)
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "TYX"})
    viewer.open(path)
    dialog = AddImageDialog(
        workspace.images, workspace.images.candidates(), list(viewer.layers), page
    )
    assert dialog.interpretation.text() == READING
    ok = dialog.buttons.button(dialog.buttons.StandardButton.Ok)
    assert not ok.isEnabled()
    posted.get(timeout=60)()
    assert dialog.axes.text() == "tyx"
    assert ok.isEnabled()
    dialog.close()


def test_planes_that_may_be_colours_wait_to_be_named(
    workspace: Workspace, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = add_image(viewer, 4, 40, 60)
    told = FileMetadata("cyx", (4, 40, 60), (), ("its header calls 4 planes colours.",))
    monkeypatch.setattr(workspace.files, "metadata", lambda _: told)
    assert workspace.images.is_ambiguous(layer)
    workspace.begin()
    assert workspace.store.project.images == ()


def test_selected_layers_become_channels(
    page: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    layers = [add_image(viewer, 40, 60, seed=n, name=f"c{n}") for n in range(3)]
    viewer.layers.selection = set(layers[:2])
    click(page.images.add, qtbot)
    page.findChild(AddImageDialog).accept()
    (image,) = workspace.store.project.images
    assert [source.layer for source in image.sources] == ["c0", "c1"]
    assert workspace.images.candidates() == [layers[2]]


def test_layers_of_several_files_are_images_of_their_own_unless_that_is_unticked(
    page: AnnotatePage,
    viewer: ViewerModel,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    PluginManager.instance().discover()
    for name, shape in (("a", (40, 60)), ("b", (5, 40, 60)), ("c", (40, 60))):
        path = tmp_path / f"{name}.tif"
        pixels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16)
        tifffile.imwrite(
            path, pixels, ome=True, metadata={"axes": "TYX"[-len(shape) :]}
        )
        viewer.open(path)
    viewer.layers.selection = set(viewer.layers)
    click(page.images.add, qtbot)
    dialog = page.findChild(AddImageDialog)
    assert dialog.each.isChecked()
    assert dialog.each.isVisibleTo(dialog)
    dialog.each.setChecked(False)
    assert "have one shape" in dialog.problem.text()
    dialog.each.setChecked(True)
    assert dialog.problem.text() == ""
    dialog.accept()
    axes = [(i.name, i.axes) for i in workspace.store.project.images]
    assert axes == [("a", "yx"), ("b", "tyx"), ("c", "yx")]
    # one at a time is seen, with what is painted on it
    seen = [layer.name for layer in viewer.layers if layer.visible]
    assert seen == ["c", "Annotation · c"]


def test_one_layer_is_not_asked_whether_it_is_an_image(
    page: AnnotatePage, viewer: ViewerModel, qtbot: QtBot
) -> None:
    for number in range(2):
        add_image(viewer, 40, 60, seed=number)
    click(page.images.add, qtbot)
    dialog = page.findChild(AddImageDialog)
    assert not dialog.each.isVisibleTo(dialog)
    dialog.layers.item(0).setCheckState(Qt.CheckState.Checked)
    # they are of no file, and of one shape
    assert dialog.each.isVisibleTo(dialog)
    assert not dialog.each.isChecked()
    dialog.close()


def test_a_deleted_annotation_layer_is_shown_again(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    image = workspace.images.current
    assert image is not None
    viewer.layers.remove(workspace.images.annotation_layer(image.id))
    assert "annotation not shown" in annotated.images.list.item(0).text()
    assert not annotated.brush.isEnabled()
    click(annotated.images.show_annotation, qtbot)
    assert workspace.images.annotation_layer(image.id) is not None
    assert annotated.brush.isEnabled()


def test_a_closed_image_is_told_and_can_be_opened(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace
) -> None:
    image = workspace.images.current
    assert image is not None
    (layer,) = workspace.images.layers(image.id)
    viewer.layers.remove(layer)
    assert annotated.images.list.item(0).text() == "embryo · closed"
    assert annotated.images.reopen.isVisible()
    add_image(viewer, 5, 40, 60, name="another name")
    assert annotated.images.list.item(0).text() == "embryo"


def test_a_removed_image_comes_back_with_undo(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    click(annotated.images.remove, qtbot)
    assert workspace.store.project.images == ()
    assert "remove embryo" in annotated.undo.toolTip()
    click(annotated.undo, qtbot)
    assert [image.name for image in workspace.store.project.images] == ["embryo"]


def test_a_tick_decides_about_training(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    annotated.images.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert not workspace.store.project.images[0].use_for_training


def test_the_current_image_is_chosen_in_the_list(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace
) -> None:
    other = add_image(viewer, 40, 60, seed=9, name="other")
    annotated.images.add_layers([other], None, 0)
    current = workspace.images.current
    assert current is not None
    assert current.name == "other"
    annotated.images.list.setCurrentRow(0)
    current = workspace.images.current
    assert current is not None
    assert current.name == "embryo"


def test_a_letter_is_for_the_canvas_also_after_a_click_in_the_list(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    other = add_image(viewer, 40, 60, seed=9, name="nuclei")
    annotated.images.add_layers([other], None, 0)
    annotated.images.list.setCurrentRow(0)
    # N, for the next cell, is no search for an image whose name begins with it
    qtbot.keyClick(annotated.images.list, Qt.Key.Key_N)
    assert workspace.images.current is not None
    assert workspace.images.current.name == "embryo"
    qtbot.keyClick(annotated.images.list, Qt.Key.Key_Down)
    assert workspace.images.current.name == "nuclei"


def test_classes_are_added_named_and_chosen(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    panel = annotated.classes
    click(panel.add, qtbot)
    panel.rows[1].name.setText("dividing")
    panel.rows[1].name.editingFinished.emit()
    panel.rows[1].kind.setCurrentIndex(1)
    panel.rows[1].colour.setColour("#ff0000")
    info = workspace.store.project.classes[1]
    assert (info.name, info.kind, info.colour) == ("dividing", "regions", "#ff0000")
    assert workspace.annotating.brush.active_class == 2
    click(panel.rows[0].radio, qtbot)
    assert workspace.annotating.brush.active_class == 1


def test_a_name_that_is_taken_is_told_and_not_kept(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    click(annotated.classes.add, qtbot)
    row = annotated.classes.rows[1]
    row.name.setText("cells")
    row.name.editingFinished.emit()
    assert told == ["There is a class 'cells' already."]
    assert row.name.text() == "class 2"


def test_removing_a_class_asks_what_its_cells_become(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    click(annotated.classes.add, qtbot)
    layer = workspace.annotating.brush.layer
    assert layer is not None
    layer.paint((0, 5, 5), layer.selected_label)
    workspace.annotating.tick()
    click(annotated.classes.rows[1].remove, qtbot)
    dialog = annotated.findChild(QInputDialog)
    assert "1 object is class 2" in dialog.labelText()
    assert dialog.comboBoxItems() == ["cells"]
    dialog.accept()
    assert len(workspace.store.project.classes) == 1
    assert not annotated.classes.rows[0].remove.isEnabled()


def test_brush_buttons_and_napari_agree(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    layer = workspace.annotating.brush.layer
    assert layer is not None
    brush = annotated.brush
    click(brush.background, qtbot)
    assert layer.selected_label == 1
    assert "paints background" in brush.status.text()
    click(brush.eraser, qtbot)
    assert layer.mode == "erase"
    click(brush.cell, qtbot)
    assert (layer.mode, layer.selected_label) == ("paint", 2)
    assert "paints a new cell with label 2" in brush.status.text()
    layer.mode = "pan_zoom"
    assert not any(b.isChecked() for b in (brush.cell, brush.background, brush.eraser))
    layer.brush_size = 17
    assert brush.size.value() == brush.slider.value() == 17
    brush.slider.setValue(23)
    assert layer.brush_size == 23
    brush.keep.setChecked(False)
    assert not layer.preserve_labels


def test_a_button_makes_the_annotation_the_active_layer(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    brush = annotated.brush
    for other in (viewer.layers[0], viewer.add_points(), viewer.add_shapes(), None):
        click(brush.cell, qtbot)
        assert "paints a new cell with label 2" in brush.status.text()
        assert brush.cell.isChecked()
        viewer.layers.selection.active = other
        assert "select the layer" in brush.status.text()
        assert not brush.cell.isChecked()
    click(annotated.brush.background, qtbot)
    assert viewer.layers.selection.active is workspace.annotating.brush.layer


def test_the_keys_are_named_until_cells_and_background_are_painted(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    layer = workspace.annotating.brush.layer
    assert layer is not None
    status = annotated.brush.status
    # once, while the guide says it
    assert status.text() == "The brush paints a new cell with label 2."
    workspace.guide.set_shown(False)
    assert "Press N before each next cell. Then press G" in status.text()
    click(annotated.brush.background, qtbot)
    assert status.text() == "The brush paints background. Press N for cells."
    layer.paint((0, 30, 30), 1)
    layer.paint((0, 10, 10), 2)
    workspace.annotating.object_index.update_all(DEADLINE)
    click(annotated.brush.cell, qtbot)
    assert status.text() == "The brush paints a new cell with label 3."
    layer.visible = False
    assert "is hidden" in status.text()


def test_regions_are_not_called_cells_and_have_no_tools_of_cells(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    brush = annotated.brush
    assert brush.cell.text() == "Next cell (N)"
    workspace.annotating.classes.set_kind(1, "regions")
    assert brush.cell.text() == "Region (N)"
    assert brush.tools.isHidden()
    workspace.annotating.classes.add("dividing")
    assert not brush.tools.isHidden()


def test_a_painted_cell_can_be_given_another_class(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    brush, annotating = annotated.brush, workspace.annotating
    annotating.classes.add("dividing")
    annotating.classes.add("tissue", "regions")
    annotating.brush.next_cell()
    # a cell that is not painted yet gets the class of its next stroke
    assert brush.cell_class.isHidden()
    layer = annotating.brush.layer
    assert layer is not None
    layer.paint((0, 10, 10), layer.selected_label)
    annotating.tick()
    brush.refresh()
    assert not brush.cell_class.isHidden()
    assert "goes on with the cell" in brush.status.text()
    label = f"Cell with label {layer.selected_label} is of class"
    assert brush.class_label.text() == label
    classes = [brush.cell_class.itemText(i) for i in range(brush.cell_class.count())]
    assert classes == ["cells", "dividing"]
    brush.cell_class.setCurrentIndex(1)
    brush.cell_class.activated.emit(1)
    image = workspace.store.project.images[0]
    assert image.class_of[int(layer.selected_label)] == 2
    assert brush.cell_class.currentText() == "dividing"


def test_annotation_is_removed_from_the_menu_and_comes_back(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot
) -> None:
    layer = workspace.annotating.brush.layer
    assert layer is not None
    layer.paint((0, 10, 10), 2)
    annotated.project.menu_.aboutToShow.emit()
    assert annotated.project.clear.text() == "Remove annotation of embryo"
    annotated.project.clear.trigger()
    assert not layer.data.any()
    annotated.project.menu_.aboutToShow.emit()
    assert not annotated.project.clear.isEnabled()
    click(annotated.undo, qtbot)
    assert layer.data[0, 10, 10] == 2


def test_a_closed_image_is_said_to_be_closed(
    annotated: AnnotatePage, viewer: ViewerModel
) -> None:
    viewer.layers.clear()
    assert annotated.brush.status.text() == "embryo is closed: press Open image…"


def test_the_image_chosen_is_seen_and_what_covers_it_is_not(
    annotated: AnnotatePage, viewer: ViewerModel
) -> None:
    other = add_image(viewer, 5, 40, 60, seed=1, name="other")
    annotated.images.add_layers([other], None, 0)
    annotated.images.list.setCurrentRow(0)
    visible = [layer.name for layer in viewer.layers if layer.visible]
    assert visible == ["embryo", "Annotation · embryo"]
    annotated.images.list.setCurrentRow(1)
    visible = [layer.name for layer in viewer.layers if layer.visible]
    assert visible == ["other", "Annotation · other"]


def test_several_images_are_asked_which_belong_together(
    page: AnnotatePage, viewer: ViewerModel
) -> None:
    add_image(viewer, 40, 60)
    assert page.empty.text() == NOT_ADDED
    add_image(viewer, 40, 60, seed=1)
    assert page.empty.text() == SEVERAL


def test_a_layer_that_is_in_no_project_says_how_it_gets_there(
    annotated: AnnotatePage, viewer: ViewerModel
) -> None:
    assert annotated.empty.text() == ""
    layer = add_image(viewer, 40, 60, name="other {0}")
    sentence = "other {0} is not in the project: press Add image… to annotate it."
    assert annotated.empty.text() == sentence
    annotated.images.list.setCurrentRow(0)
    viewer.layers.selection.active = viewer.layers[0]
    assert annotated.empty.text() == ""
    viewer.layers.selection.active = layer
    assert annotated.empty.text() == sentence


def test_slices_are_listed_with_their_cells(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    layer = workspace.annotating.brush.layer
    assert layer is not None
    for z, ids in ((1, (2, 3)), (3, (4,))):
        viewer.dims.set_current_step(0, z)
        for id_ in ids:
            layer.paint((z, 10 * id_ - 10, 10), id_)
    panel = annotated.slices

    def listed() -> bool:
        # a tick counts no longer than a moment
        workspace.annotating.tick()
        return panel.list.count() == 2 and "2 cells" in panel.list.item(0).text()

    qtbot.waitUntil(listed)
    assert panel.here.text() == "Slice 3, 1 cell"
    click(panel.finished, qtbot)
    assert panel.list.item(1).text() == "Slice 3, 1 cell, finished"
    click(panel.previous, qtbot)
    assert panel.here.text() == "Slice 1, 2 cells"
    assert not panel.finished.isChecked()
    panel.list.itemClicked.emit(panel.list.item(1))
    assert panel.finished.isChecked()


def masks() -> Any:
    values = np.zeros((5, 40, 60), np.int32)
    values[2, 5:15, 5:15] = 1
    values[2, 20:30, 20:30] = 4
    return values


def test_masks_of_a_layer_are_imported_from_the_menu(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace
) -> None:
    viewer.add_labels(masks(), name="truth")
    annotated.import_.fill()
    entries = {a.text(): a for a in annotated.import_.menu_.actions()}
    entries["Masks of layer truth"].trigger()
    image = workspace.store.project.images[0]
    assert workspace.images.places(image.id) == ((0, 2),)
    # it would cover what was imported
    assert not viewer.layers["truth"].visible
    active = viewer.layers.selection.active
    assert active is workspace.images.annotation_layer(image.id)


def test_classes_in_the_features_of_a_layer_become_those_of_the_annotation(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace
) -> None:
    features = {"index": [1, 4], "class": ["long", "round"]}
    layer = viewer.add_labels(masks(), name="truth", features=features)
    annotated.import_._from_layer(layer)
    project = workspace.store.project
    assert [c.name for c in project.classes] == ["long", "round"]
    assert list(project.images[0].class_of.values()) == [2]


def test_cells_of_another_program_are_imported_from_a_file(
    annotated: AnnotatePage,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    image = workspace.store.project.images[0]
    cells = Image(masks().astype(np.uint8), "zyx")
    FORMATS["geojson"].write(tmp_path / "a.geojson", Objects(cells))
    annotated.import_.open_file(str(tmp_path / "a.geojson"))
    qtbot.waitUntil(lambda: workspace.images.places(image.id) == ((0, 2),))
    found = workspace.store.annotation(image.id).plane(0, 2)
    np.testing.assert_array_equal(found >= 2, masks()[2] > 0)


@pytest.mark.parametrize("name", ["geojson", "ome-zarr"])
def test_classes_of_a_file_become_those_of_the_annotation(
    annotated: AnnotatePage,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
    name: str,
) -> None:
    image = workspace.store.project.images[0]
    cells = masks().astype(np.uint8)
    labels = np.unique(cells)[1:].tolist()
    kinds = (ObjectClass("round", "#AA00FF"), ObjectClass("long"))
    objects = Objects(Image(cells, "zyx"), kinds, {labels[0]: 2, labels[1]: 1})
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    FORMATS[name].write(path, objects)
    annotated.import_.open_file(str(path))
    qtbot.waitUntil(lambda: workspace.images.places(image.id) == ((0, 2),))
    project = workspace.store.project
    # nothing was annotated, so they are in place of the class there was
    names = [c.name for c in project.classes]
    assert sorted(names) == ["long", "round"]
    if name == "geojson":  # the colours of an OME-Zarr are of objects
        assert project.classes[names.index("round")].colour == "#aa00ff"
    plane = workspace.store.annotation(image.id).plane(0, 2)
    class_of = project.images[0].class_of
    for label, name in ((labels[0], "long"), (labels[1], "round")):
        (found,) = np.unique(plane[cells[2] == label]).tolist()
        assert names[class_of.get(found, 1) - 1] == name


def test_which_of_several_images_of_a_file_is_meant_is_asked(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    image = workspace.store.project.images[0]
    file = tmp_path / "all_coco.json"
    FORMATS["coco"].write(file, Objects(Image(masks().astype(np.uint8), "zyx")))
    content = json.loads(file.read_text())
    other = content["images"][0] | {"id": 99, "file_name": "other.tif"}
    content["images"].insert(0, other)
    file.write_text(json.dumps(content))
    annotated.import_.open_file(str(file))
    qtbot.waitUntil(lambda: bool(annotated.import_.findChildren(QInputDialog)))
    (dialog,) = annotated.import_.findChildren(QInputDialog)
    assert dialog.comboBoxItems() == ["#1 other.tif", "#2 image"]
    dialog.setTextValue("#2 image")
    dialog.accept()
    qtbot.waitUntil(lambda: workspace.images.places(image.id) == ((0, 2),))


def test_what_cannot_be_imported_is_told(
    annotated: AnnotatePage, workspace: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    (tmp_path / "a.geojson").write_text("[1]")
    annotated.import_.open_file(str(tmp_path / "a.geojson"))
    qtbot.waitUntil(lambda: bool(told))
    assert "a.geojson: is no GeoJSON of objects, or is damaged." in told[0]


def test_nothing_annotated_is_replaced_without_asking(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    image = workspace.store.project.images[0]
    annotated.import_.import_masks(masks())
    annotated.import_.import_masks(masks())
    before = workspace.store.annotation(image.id).plane(0, 2).copy()
    box = annotated.findChild(QMessageBox)
    buttons = {button.text(): button for button in box.buttons()}
    buttons["Only where nothing is annotated"].click()
    after = workspace.store.annotation(image.id).plane(0, 2)
    np.testing.assert_array_equal(after, before)
    box.deleteLater()


def test_large_masks_are_read_in_the_background(
    annotated: AnnotatePage,
    workspace: Workspace,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_unet.gui.annotate.import_menu._MANY", 1)
    image = workspace.store.project.images[0]
    annotated.import_.import_masks(masks())
    assert workspace.images.places(image.id) == ()
    qtbot.waitUntil(lambda: workspace.images.places(image.id) == ((0, 2),))


def test_ambiguous_masks_are_asked_about(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    values = np.zeros((5, 40, 60), np.int32)
    values[0, ::4, ::4] = 1
    values[0, 2::4, 2::4] = 2
    annotated.import_.import_masks(values)
    dialog = annotated.findChild(QInputDialog)
    dialog.setTextValue("each value is a class, 0 is background")
    dialog.accept()
    assert [c.name for c in workspace.store.project.classes] == ["cells", "class 2"]


def report() -> CheckReport:
    return CheckReport(
        (ClassCount(0, 0, 3, "cells", 2, 1234),),
        (
            Finding("specks", "warning", "Slice 3 has specks.", 0, 0, 3, (9.0, 8.0), 2),
            Finding("no-background", "error", "No background.", 0, 0, 3, fix="ring"),
        ),
    )


def test_findings_can_be_gone_to_and_fixed(
    annotated: AnnotatePage, workspace: Workspace, viewer: ViewerModel, qtbot: QtBot
) -> None:
    layer = workspace.annotating.brush.layer
    assert layer is not None
    layer.paint((3, 20, 20), 2)
    workspace.annotating.tick()
    check = annotated.check._check
    check.check = lambda: None  # a worker is not wanted here
    annotated.check_fold.button.setChecked(True)
    check._checking = (workspace.store.project.images[0].id,)
    check._on_event(Checked(report()))
    buttons = annotated.check.findChildren(QPushButton)
    qtbot.waitUntil(lambda: all(button.isVisible() for button in buttons))
    texts = [button.text() for button in buttons]
    assert texts == ["Check now", "Go to", "Go to", "Fix"]
    assert annotated.check.summary.text() == "Found: 1 to repair, 1 to look at."
    assert annotated.check.table.item(0, 3).text() == "1,234"
    click(buttons[1], qtbot)
    assert viewer.dims.current_step[0] == 3
    click(buttons[3], qtbot)
    assert layer.data[3, 20, 25] == 1


def test_the_overlay_follows_its_controls(
    annotated: AnnotatePage, workspace: Workspace
) -> None:
    panel = annotated.overlay
    panel.form.widget("w0").setValue(25.0)
    assert workspace.overlay.settings.w0 == 25.0
    assert not workspace.overlay.enabled


def begin_anew(workspace: Workspace, viewer: ViewerModel) -> Workspace:
    """Return the workspace of another session with the same image."""
    workspace.close()
    again = Workspace(viewer, workspace._post, Preferences())
    again.images.add([viewer.layers["embryo"]])
    return again


def test_earlier_work_on_an_image_is_offered_and_restored(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    annotated.import_.import_masks(masks())
    folder = workspace.store.folder
    again = begin_anew(workspace, viewer)
    page = AnnotatePage(again)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(page.offer.isVisible)
    assert page.offer.sentence.text().endswith("found: 2 cells in 1 slice.")
    click(page.offer.restore, qtbot)
    assert again.store.folder == folder
    image = again.images.current
    assert image is not None
    layer = again.images.annotation_layer(image.id)
    assert layer is not None
    assert layer.data[2, 8, 8] > 1
    again.close()


def test_work_can_be_restored_once_the_other_window_is_closed(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    annotated.import_.import_masks(masks())
    workspace.store.flush()
    folder = workspace.store.folder
    other = ViewerModel()
    other.add_image(viewer.layers["embryo"].data, name="embryo")
    again = Workspace(other, workspace._post, Preferences())
    again.images.add([other.layers["embryo"]])
    page = AnnotatePage(again)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(page.offer.isVisible)
    assert not page.offer.restore.isEnabled()
    assert "open in another napari window" in page.offer.restore.toolTip()
    page.offer._look_again()
    assert not page.offer.restore.isEnabled()
    # what is painted there meanwhile is restored as well
    layer = workspace.annotating.brush.layer
    assert layer is not None
    layer.paint((4, 30, 30), 9)
    workspace.close()
    qtbot.waitUntil(page.offer.restore.isEnabled)
    assert page.offer.sentence.text().endswith("found: 3 cells in 2 slices.")
    click(page.offer.restore, qtbot)
    assert again.store.folder == folder
    again.close()


def test_an_offer_can_be_declined(
    annotated: AnnotatePage, viewer: ViewerModel, workspace: Workspace, qtbot: QtBot
) -> None:
    annotated.import_.import_masks(masks())
    again = begin_anew(workspace, viewer)
    page = AnnotatePage(again)
    qtbot.addWidget(page)
    page.show()
    assert page.brush.status.text() == "To paint, press New annotation."
    qtbot.waitUntil(page.offer.isVisible)
    click(page.offer.new, qtbot)
    assert not page.offer.isVisible()
    image = again.store.project.images[0]
    assert again.images.places(image.id) == ()
    assert again.images.annotation_layer(image.id) is not None
    again.close()


def test_an_opened_project_asks_where_its_missing_images_are(
    annotated: AnnotatePage,
    viewer: ViewerModel,
    workspace: Workspace,
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    PluginManager.instance().discover()
    for seed, name in enumerate(("a.tif", "b.tif")):
        pixels = np.random.default_rng(seed).integers(0, 9, (40, 60))
        tifffile.imwrite(tmp_path / name, pixels.astype(np.uint16))
        annotated.images.add_layers(viewer.open(tmp_path / name), None, 0)
    annotated.project.save_as(str(tmp_path / "saved"))
    qtbot.waitUntil((tmp_path / "saved" / "project.json").exists)
    (tmp_path / "moved").mkdir()
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    viewer.layers.clear()
    annotated.project.open_folder(str(tmp_path / "saved"))
    (dialog,) = annotated.findChildren(QFileDialog)
    assert dialog.windowTitle() == "Where is a now?"
    dialog.fileSelected.emit(str(tmp_path / "moved" / "a.tif"))
    opened = [i.name for i in workspace.store.project.images if is_open(workspace, i)]
    assert opened == ["a", "b"]
    dialog.deleteLater()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tif", "ExistingFile"), ("a.zarr", "Directory"), ("slices", "Directory")],
)
def test_a_folder_that_was_opened_as_an_image_can_be_chosen(
    page: AnnotatePage,
    viewer: ViewerModel,
    workspace: Workspace,
    tmp_path: Path,
    name: str,
    mode: str,
) -> None:
    layer = add_image(viewer, 40, 60)
    layer.metadata.update(from_file(str(tmp_path / name)))
    image = workspace.images.add([layer])
    ask_where(workspace, image, page)
    (dialog,) = page.findChildren(QFileDialog)
    assert dialog.fileMode() == getattr(QFileDialog.FileMode, mode)
    dialog.close()
    dialog.deleteLater()


def is_open(workspace: Workspace, image: ProjectImage) -> bool:
    return workspace.images.annotation_layer(image.id) is not None


def test_a_project_is_saved_beside_the_work_and_told_of(
    annotated: AnnotatePage,
    workspace: Workspace,
    tmp_path: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    monkeypatch.setattr(project_menu, "_LONG_MS", 1)
    go_on, save = threading.Event(), store.save_folder

    def slow(*args: Any) -> None:
        go_on.wait(DEADLINE)
        save(*args)

    monkeypatch.setattr(store, "save_folder", slow)
    saved = tmp_path / "saved"
    annotated.project.save_as(str(saved))
    qtbot.waitUntil(lambda: told == ["Saving the project; you can go on working."])
    assert not saved.exists()
    go_on.set()
    qtbot.waitUntil(lambda: len(told) == 2)
    assert told[1] == f"Saved the project in {saved}."
    assert (saved / "project.json").exists()
    annotated.project.save_as(str(workspace.store.folder))
    qtbot.waitUntil(lambda: "holds the project" in told[-1])
    annotated.project.open_folder(str(tmp_path / "nothing"))
    assert "nothing" in told[-1]


def test_all_keys_are_in_the_table() -> None:
    shown = {text for _, text in key_table()}
    assert {s.text for s in SHORTCUTS if "class" not in s.action} <= shown
    assert ("Ctrl+1 … 9", "Class 1 … 9") in key_table()
    of_cell = "The painted cell under the mouse is of class 1 … 9"
    assert ("Alt+1 … 9", of_cell) in key_table()


def test_every_control_has_a_tooltip(annotated: AnnotatePage) -> None:
    kinds = (
        QAbstractButton,
        QComboBox,
        QLineEdit,
        QSlider,
        QAbstractSpinBox,
        QCheckBox,
        QRadioButton,
    )
    for kind in kinds:
        for widget in annotated.findChildren(kind):
            inner = isinstance(widget.parent(), (QAbstractSpinBox, QComboBox))
            if inner or widget.objectName().startswith("qt_") or not widget.isVisible():
                continue
            assert widget.toolTip(), (kind, getattr(widget, "text", str)())


def test_the_page_fits_a_narrow_dock(annotated: AnnotatePage, qtbot: QtBot) -> None:
    for fold in (annotated.check_fold, annotated.overlay_fold, annotated.shortcut_fold):
        fold.button.setChecked(True)
    assert annotated.minimumSizeHint().width() <= 320
