from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QDialogButtonBox, QMessageBox, QWidget

from example_models import random_model
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.events import (
    FilePredicted,
    ModelFormatsFound,
    StarterChosen,
    StepDone,
    WrittenFormat,
)
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.jobs import (
    ChooseStarterJob,
    ConvertModelJob,
    ExportJob,
    ExportModelJob,
    LoadModelJob,
    PointsJob,
    PredictFolderJob,
    PredictJob,
    SegmentJob,
    TrainJob,
)
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.publication import Publication
from napari_unet.core.settings import Segmentation
from napari_unet.core.starters import Trial, choose
from napari_unet.core.text import pip_install
from napari_unet.core.training.training_settings import Training
from napari_unet.gui.predict.export_dialog import ExportDialog
from napari_unet.gui.predict.folder_dialog import FolderDialog
from napari_unet.gui.predict.model_export_dialog import ModelExportDialog
from napari_unet.gui.predict.page import PredictPage
from napari_unet.io.model_file import save_model
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.prediction_folder import KINDS, OF_CELLS
from napari_unet.io.pretrained import PRETRAINED, STARTERS, pretrained_models

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

    from fake_worker import FakeWorker
    from napari_unet.session.workspace import Workspace


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "blobs.safetensors"
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(segmentation=Segmentation(threshold=0.3))
    save_model(type(model)(card, model.weights), path)
    return path


@pytest.fixture
def package_models() -> tuple[Path, ...]:
    """Return no model that comes with the package, unless a test wants some."""
    return ()


@pytest.fixture(autouse=True)
def use_package_models(
    monkeypatch: pytest.MonkeyPatch, package_models: tuple[Path, ...]
) -> None:
    monkeypatch.setattr(
        "napari_unet.session.workspace.pretrained_models", lambda: package_models
    )


@pytest.fixture
def page(workspace: Workspace, qtbot: QtBot) -> PredictPage:
    page = PredictPage(workspace)
    qtbot.addWidget(page)
    page.show()
    return page


@pytest.fixture
def ready(page: PredictPage, workspace: Workspace, model_file: Path) -> PredictPage:
    """A page with a model and an image."""
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.images.add([layer])
    page.models.open_file(model_file)
    settle(page)
    return page


def watch_annotation(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, ...]]:
    """Return what is given to be annotation from now on."""
    taken: list[tuple[Any, ...]] = []

    def take(*given: Any) -> int:
        taken.append(given)
        return 1

    edits = workspace.annotating.label_edits
    monkeypatch.setattr(edits, "use_as_annotation", take)
    return taken


def settle(page: PredictPage) -> None:
    page._timer.stop()
    page._show()


def press(qtbot: QtBot, button: QWidget) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def predicted(page: PredictPage, fake: FakeWorker, count: int = 5) -> None:
    page.run.predict.click()
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    fake.end(handle)
    while fake.running(SegmentJob):
        fake.find_cells(fake.running(SegmentJob)[0], count)
    settle(page)


def test_without_a_model_the_page_says_what_to_do(page: PredictPage) -> None:
    assert page.models.empty.isVisible()
    assert page.models.empty.hint.text() == (
        "Train a model first, or drop a model file here, also of Fiji's U-Net and "
        "other programs."
    )
    assert not page.run.predict.isEnabled()
    assert not page.cells.isVisible()


@pytest.mark.parametrize("package_models", [pretrained_models()])
def test_models_of_the_package_are_offered_at_once(page: PredictPage) -> None:
    combo = page.models.combo
    names = [combo.itemText(i) for i in range(combo.count())]
    assert names == ["Automatic", *PRETRAINED]
    assert all(not combo.itemIcon(i).isNull() for i in range(1, combo.count()))
    # none of them is chosen before it is known whether it suits the image
    assert combo.currentText() == "Automatic"
    assert "tries which model suits" in page.models.purpose.text()
    assert not page.models.card.isVisibleTo(page)
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    assert combo.currentText() == "nuclei"
    assert page.models.details.text().startswith("cells · 2-D")
    assert page.models.purpose.text().startswith("For nuclei in fluorescence")
    combo.activated.emit(0)
    assert combo.currentText() == "Automatic"


@pytest.mark.parametrize("package_models", [pretrained_models()])
def test_automatic_says_which_model_it_takes_and_why(
    page: PredictPage, workspace: Workspace, fake: FakeWorker
) -> None:
    layer = workspace.viewer.add_image(np.ones((8, 10), np.uint8), name="blobs")
    workspace.images.add([layer])
    settle(page)
    page.run.predict.click()
    settle(page)
    # what stands below it stays where it is
    assert "tries which model suits" in page.models.purpose.text()
    assert "which model suits" in page.run.status.text()
    assert page.run.cancel.isEnabled()
    (handle,) = fake.running(ChooseStarterJob)
    trials = (
        Trial(STARTERS[0], 40, 0.3, 0.7, 28, 2.0),
        Trial(STARTERS[-1], 1, 0.95, 1.0, 300, 0.0),
    )
    fake.emit(handle, StarterChosen(choose(trials)))
    fake.end(handle)
    assert page.models.combo.currentText() == "Automatic: nuclei"
    assert "70% sure of its cells" in page.models.purpose.text()
    assert "takes 95% of the image for cells" in page.models.purpose.toolTip()
    assert "only 70% sure" in page.models.doubt.text()
    assert page.models.doubt.level == "warning"
    assert len(fake.jobs(PredictJob)) == 1


@pytest.mark.parametrize("package_models", [pretrained_models()])
def test_an_image_that_no_model_of_the_package_can_see_is_to_be_trained_on(
    page: PredictPage, workspace: Workspace
) -> None:
    pixels = np.zeros((8, 10), np.uint8)
    layers = [workspace.viewer.add_image(pixels, name=name) for name in ("two", "b")]
    workspace.images.add(layers)
    settle(page)
    assert page.models.combo.currentText() == "Automatic"
    assert not page.run.predict.isEnabled()
    assert page.run.hint.text() == (
        "The models that come with the package see 1 or 3 channels, two has 2 "
        "channels: train one on it first."
    )


@pytest.mark.parametrize("package_models", [pretrained_models()])
def test_own_models_go_before_those_of_the_package(ready: PredictPage) -> None:
    combo = ready.models.combo
    names = [combo.itemText(i) for i in range(combo.count())]
    assert names == ["Automatic", "blobs", *PRETRAINED]


def test_with_a_model_it_says_what_the_model_is(ready: PredictPage) -> None:
    assert not ready.models.empty.isVisible()
    assert ready.models.combo.currentText() == "blobs"
    assert ready.models.details.text().startswith("class 1 · 2-D")
    assert ready.run.predict.isEnabled()
    assert ready.run.image.text() == "blobs"


def test_a_model_file_can_be_dropped_on_the_page(
    page: PredictPage, workspace: Workspace, model_file: Path
) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(model_file))])
    where = QPoint(5, 5)
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(where, Qt.DropAction.CopyAction, data, buttons, keys)
    enter.ignore()
    page.dragEnterEvent(enter)
    assert enter.isAccepted()
    drop = QDropEvent(where.toPointF(), Qt.DropAction.CopyAction, data, buttons, keys)
    page.dropEvent(drop)
    assert workspace.models.selected == model_file


def test_a_model_of_another_program_can_be_dropped_on_the_page(
    page: PredictPage, workspace: Workspace, fake: FakeWorker, tmp_path: Path
) -> None:
    foreign = tmp_path / "net.modeldef.h5"
    foreign.write_bytes(b"\x89HDF\r\n\x1a\n")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(foreign))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    where, copy = QPoint(5, 5), Qt.DropAction.CopyAction
    enter = QDragEnterEvent(where, copy, data, buttons, keys)
    enter.ignore()
    page.dragEnterEvent(enter)
    assert enter.isAccepted()
    page.dropEvent(QDropEvent(where.toPointF(), copy, data, buttons, keys))
    (job,) = fake.jobs(ConvertModelJob)
    assert job.source == str(foreign)
    assert page.models.status.text() == "Reading net.modeldef.h5 …"
    fake.fail(fake.last, "net.modeldef.h5 is damaged.")
    assert page.models.status.text() == ""


def test_a_model_is_exported_for_another_program(
    ready: PredictPage,
    workspace: Workspace,
    fake: FakeWorker,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ready.export_model.isEnabled()
    entry = workspace.models.entry
    assert entry is not None
    dialog = ModelExportDialog(workspace.foreign_models, entry, ready)
    save = dialog.buttons.button(QDialogButtonBox.StandardButton.Save)
    assert not save.isEnabled()
    formats = [
        WrittenFormat("fiji", "Fiji", "For Fiji.", (".modeldef.h5", ".caffemodel.h5")),
        WrittenFormat("zoo", "Zoo", "For all.", (".zip",), is_published=True),
        WrittenFormat(
            "other", "Other", "For it.", (".other",), problem="It needs a package."
        ),
    ]
    fake.emit(fake.last, ModelFormatsFound(tuple(formats)))
    fake.end(fake.last)
    assert save.isEnabled()
    assert dialog.tip.text() == "For Fiji."
    assert dialog.file.value.name == "blobs.modeldef.h5"
    assert not dialog.authors.isVisibleTo(dialog)
    dialog.format.setCurrentIndex(2)
    assert (dialog.tip.text(), save.isEnabled()) == ("It needs a package.", False)
    assert dialog.file.value.name == "blobs.other"
    dialog.format.setCurrentIndex(0)
    suffix = ".modeldef.h5"
    dialog.file.value = tmp_path / "gone" / f"a{suffix}"
    dialog.accept()
    assert dialog.problem.text() == f"There is no folder {tmp_path / 'gone'}."
    path = tmp_path / f"a{suffix}"
    path.write_text("mine")
    no, yes = QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes
    answers = [no, no, yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    dialog.file.value = tmp_path
    dialog.accept()
    assert dialog.problem.text() == f"{tmp_path} is a folder."
    # the second file of a pair is replaced, too
    for end in (".modeldef.h5", ".caffemodel.h5"):
        (tmp_path / f"b{end}").write_text("mine")
        dialog.file.value = tmp_path / "b"
        dialog.accept()
        (tmp_path / f"b{end}").unlink()
    assert answers == [yes]
    assert fake.jobs(ExportModelJob) == []
    dialog.file.value = path
    dialog.accept()
    (job,) = fake.jobs(ExportModelJob)
    assert (job.model, job.target) == (str(model_file), str(path))
    assert (job.format, job.publication) == ("fiji", None)
    settle(ready)
    assert not ready.export_model.isEnabled()


def test_who_made_a_model_that_is_given_away_is_asked(
    ready: PredictPage, workspace: Workspace, fake: FakeWorker, tmp_path: Path
) -> None:
    entry = workspace.models.entry
    assert entry is not None
    dialog = ModelExportDialog(workspace.foreign_models, entry, ready)
    zoo = WrittenFormat("zoo", "Zoo", "For all.", (".zip",), is_published=True)
    fake.emit(fake.last, ModelFormatsFound((zoo,)))
    assert dialog.authors.isVisibleTo(dialog)
    dialog.file.value = tmp_path / "a.zip"
    for authors, licence in (("", "MIT"), ("Ada/Alan", "MIT"), ("Ada", "")):
        dialog.authors.setText(authors)
        dialog.licence.setCurrentIndex(dialog.licence.findText(licence))
        dialog.accept()
        assert dialog.problem.text()
    assert fake.jobs(ExportModelJob) == []
    dialog.authors.setText("Ada Lovelace, Alan Turing")
    dialog.licence.setCurrentText("MIT")
    dialog.accept()
    (job,) = fake.jobs(ExportModelJob)
    authors = ("Ada Lovelace", "Alan Turing")
    assert job.publication == Publication(authors=authors, licence="MIT")


def test_other_files_that_are_dragged_over_the_page_are_napari_s(
    page: PredictPage,
) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/tmp/image.tif")])
    enter = QDragEnterEvent(
        QPoint(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enter.ignore()
    page.dragEnterEvent(enter)
    assert not enter.isAccepted()


def test_a_bad_file_is_told_in_a_sentence(
    page: PredictPage, workspace: Workspace, tmp_path: Path
) -> None:
    told: list[tuple[str, str]] = []
    workspace.message.connect(lambda level, text: told.append((level, text)))
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    page.models.open_file(bad)
    ((level, sentence),) = told
    assert level == "error"
    assert "bad.safetensors is not a napari-unet model" in sentence


@pytest.mark.parametrize(
    ("number", "places"), [(0, ((0, 0),)), (2, ((0, 0),)), (3, ((0, 0),))]
)
def test_predict_asks_for_what_is_chosen(
    ready: PredictPage,
    fake: FakeWorker,
    qtbot: QtBot,
    number: int,
    places: tuple[tuple[int, int], ...],
) -> None:
    ready.run.extent.setCurrentIndex(number)
    ready.run.options.button.setChecked(True)
    value = ready.run.form.value()
    ready.run.form.setValue(value.replace(averaging="dihedral", tile=96))
    press(qtbot, ready.run.predict)
    (job,) = fake.jobs(PredictJob)
    assert job.places == places
    assert (job.settings.averaging, job.settings.tile) == ("dihedral", 96)
    assert job.entropy is not None


def test_progress_and_cancel_are_there_while_it_runs(
    ready: PredictPage, fake: FakeWorker, qtbot: QtBot
) -> None:
    assert not ready.run.progress.isVisible()
    assert not ready.run.cancel.isEnabled()
    with qtbot.waitActive(ready):
        ready.activateWindow()
    press(qtbot, ready.run.predict)
    settle(ready)
    assert ready.run.cancel.hasFocus()
    assert ready.run.progress.isVisible()
    assert not ready.run.predict.isEnabled()
    (handle,) = fake.running(PredictJob)
    fake.predict(handle)
    assert ready.run.progress.value() == ready.run.progress.maximum()
    press(qtbot, ready.run.cancel)
    assert fake.cancelled == [handle]
    fake.end(handle, cancelled=True)
    settle(ready)
    assert ready.run.predict.isEnabled()
    assert ready.run.status.text() == "Cancelled; what was done is kept."


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 cells"), (1, "1 cell"), (12, "12 cells")]
)
def test_the_number_of_cells_of_the_slice_is_told(
    ready: PredictPage, fake: FakeWorker, number: int, words: str
) -> None:
    assert ready.count.text() == "Cells appear here when a slice is predicted."
    predicted(ready, fake, number)
    assert ready.count.text() == f"{words} in this slice."


def test_what_a_network_sees_at_a_time_has_its_name(
    page: PredictPage, workspace: Workspace, fake: FakeWorker, tmp_path: Path
) -> None:
    layer = workspace.viewer.add_image(np.ones((3, 8, 10), np.uint8), name="blobs")
    image = workspace.images.add([layer], "zyx")
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=1)
    model = random_model(table)
    card = model.card.replace(training=Training.quick(3))
    save_model(type(model)(card, model.weights), tmp_path / "deep.safetensors")
    page.models.open_file(tmp_path / "deep.safetensors")
    settle(page)
    assert page.run.extent.itemText(0) == "This volume"
    predicted(page, fake, 7)
    assert page.count.text() == "7 cells in this volume."
    # of a movie it is a time point
    workspace.images.remove(image.id)
    workspace.images.add([layer], "tyx")
    settle(page)
    assert page.run.extent.itemText(0) == "This volume"
    workspace.models.select(None)
    settle(page)
    assert page.run.extent.itemText(0) == "This time point"


def test_tools_come_with_the_cells_and_stay_in_sight(
    ready: PredictPage, fake: FakeWorker
) -> None:
    assert not ready.tools.isVisibleTo(ready.pinned)
    predicted(ready, fake)
    assert ready.tools.isVisibleTo(ready.pinned)
    # what is being learnt is told beside them
    assert ready.pinned.isAncestorOf(ready.learning.status)


def test_cells_are_shown_as_points(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace, qtbot: QtBot
) -> None:
    assert not ready.points.isEnabled()
    predicted(ready, fake)
    press(qtbot, ready.points)
    (job,) = fake.jobs(PointsJob)
    assert (job.name, job.axes) == ("blobs", "yx")


def test_sliders_show_the_model_s_settings_and_act_at_once(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace
) -> None:
    assert ready.cells.main.value().threshold == 0.3
    predicted(ready, fake)
    before = len(fake.handles)
    value = ready.cells.main.value()
    ready.cells.main.setValue(value.replace(threshold=0.8))
    assert fake.handles[before].job.settings.threshold == 0.8
    assert ready.cells.more.value().threshold == 0.8
    ready.cells.more.setValue(ready.cells.more.value().replace(neck=0.1))
    settings = workspace.prediction.segmentation
    assert (settings.threshold, settings.neck) == (0.8, 0.1)
    ready.cells.fold.button.setChecked(True)
    ready.cells.reset.click()
    assert workspace.prediction.segmentation == Segmentation(threshold=0.3)
    assert not ready.cells.reset.isEnabled()


def test_what_parts_cells_says_which_settings_it_needs(
    ready: PredictPage, workspace: Workspace
) -> None:
    main, more = ready.cells.main, ready.cells.more
    there = find_spec("bioimage_cpp") is not None
    assert more.widget("cells_by").isEnabled() == there
    if not there:
        assert pip_install("tissue") in more.widget("cells_by").toolTip()
    assert main.widget("min_distance").isEnabled()
    assert not more.widget("membrane").isEnabled()
    settings = workspace.prediction.segmentation
    # as a project may have it that comes from elsewhere
    workspace.prediction.set_segmentation(settings.replace(cells_by="multicut"))
    assert more.value().cells_by == "multicut"
    assert more.widget("cells_by").isEnabled()
    assert more.widget("membrane").isEnabled()
    assert not main.widget("min_distance").isEnabled()
    assert not more.widget("neck").isEnabled()


def test_only_the_cells_of_time_series_can_be_followed(
    ready: PredictPage, workspace: Workspace
) -> None:
    form = ready.cells.time
    assert form.isHidden()
    movie = workspace.viewer.add_image(np.ones((3, 8, 10), np.uint8), name="movie")
    workspace.images.add([movie], "tyx")
    settle(ready)
    assert not form.isHidden()
    assert not form.widget("track_distance").isEnabled()
    form.widget("track").setChecked(True)
    assert workspace.prediction.segmentation.track
    assert form.widget("track_distance").isEnabled()
    # it goes on being seen where it is on: it holds for folders of images, too
    workspace.viewer.layers.selection = {workspace.viewer.layers["blobs"]}
    settle(ready)
    assert not form.isHidden()
    form.widget("track").setChecked(False)
    assert form.isHidden()


def test_the_cells_of_a_slice_become_annotation(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = watch_annotation(workspace, monkeypatch)
    assert not ready.use_slice.isEnabled()
    predicted(ready, fake)
    image = workspace.images.current
    assert image is not None
    workspace.prediction.results[image.id].files.arrays["cells"][2, 3] = 4
    press(qtbot, ready.use_slice)
    ((image_id, plane, t, z, ids),) = taken
    assert (image_id, t, z, ids) == (image.id, 0, 0, None)
    assert plane.shape == (8, 10)
    assert plane[2, 3] == 4


def click(viewer: ViewerModel, position: tuple[float, ...], *, by: int = 0) -> None:
    """Press the mouse, move it by some pixels of the screen, and let go."""
    event = SimpleNamespace(button=1, modifiers=(), position=position)
    for callback in viewer.mouse_drag_callbacks:
        event.type, event.pos = "mouse_press", np.array([50, 50])
        steps: Any = callback(viewer, event)
        next(steps, None)
        if by:
            event.type, event.pos = "mouse_move", np.array([50, 50 + by])
            next(steps, None)
        event.type = "mouse_release"
        next(steps, None)


def test_a_click_on_a_cell_takes_it_while_the_button_is_pressed(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = watch_annotation(workspace, monkeypatch)
    predicted(ready, fake)
    image = workspace.images.current
    assert image is not None
    workspace.prediction.results[image.id].files.arrays["cells"][2, 3] = 4
    viewer = workspace.viewer
    click(viewer, (2.2, 2.8))
    assert taken == []
    accept = ready.tools.buttons["accept"]
    press(qtbot, accept)
    for position in ((0.0, 0.0), (-3.0, 4.0), (50.0, 4.0)):
        click(viewer, position)
    click(viewer, (2.2, 2.8), by=20)
    assert taken == []
    click(viewer, (2.2, 2.8))
    assert [given[4] for given in taken] == [{4}]
    ready.hide()
    assert not accept.isChecked()
    click(viewer, (2.2, 2.8))
    assert len(taken) == 1


def test_a_layer_that_is_shown_does_not_take_up_its_brush(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace, qtbot: QtBot
) -> None:
    """A hidden layer gets the tool back that it had, and the next click painted."""
    image = workspace.images.current
    assert image is not None
    layer = workspace.annotating.layers.show(image.id)
    assert layer.mode == "paint"
    layer.visible = False
    predicted(ready, fake)
    cells = workspace.prediction.results[image.id].files.arrays["cells"]
    cells[1:3, 1:3], cells[5:7, 1:3] = 1, 2
    accept = ready.tools.buttons["accept"]
    press(qtbot, accept)
    workspace.viewer.layers.selection.active = layer
    for position in ((1, 1), (6, 2)):
        click(workspace.viewer, position)
        assert layer.visible
        assert (layer.mode, accept.isChecked()) == ("pan_zoom", True)
    layer.visible = False
    layer.visible = True
    assert (layer.mode, accept.isChecked()) == ("pan_zoom", True)


def modes(viewer: ViewerModel) -> set[str]:
    """Return what a click does in the active layer, if there is one."""
    active = viewer.layers.selection.active
    return set() if active is None else {str(active.mode)}


@pytest.mark.parametrize("annotated_before", [False, True])
def test_no_tool_paints_while_cells_are_picked(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    qtbot: QtBot,
    annotated_before: bool,
) -> None:
    viewer = workspace.viewer
    image = workspace.images.current
    assert image is not None
    if annotated_before:
        workspace.annotating.layers.show(image.id)
    predicted(ready, fake)
    cells = workspace.prediction.results[image.id].files.arrays["cells"]
    cells[1:3, 1:3], cells[5:7, 1:3], cells[5:7, 6:8] = 1, 2, 3
    press(qtbot, ready.tools.buttons["accept"])
    others = [viewer.add_points(), viewer.add_shapes(), viewer.add_labels(cells * 0)]
    for layer, tool in zip(others, ("add", "add_path", "fill"), strict=True):
        assert modes(viewer) == {"pan_zoom"}
        # what rests with another layer is not what is used
        viewer.layers.selection.active = None
        layer.mode = tool
        viewer.layers.selection.active = layer
        assert modes(viewer) == {"pan_zoom"}
    for taken, position in enumerate([(1, 1), (6, 2), (6, 7)], start=1):
        click(viewer, position, by=2)
        annotation = workspace.images.annotation_layer(image.id)
        assert annotation is not None
        assert len(np.unique(annotation.data)) == taken + 1
        for layer in (annotation, *others):
            viewer.layers.selection.active = layer
            assert modes(viewer) == {"pan_zoom"}
            assert ready.tools.buttons["accept"].isChecked()
    np.testing.assert_array_equal(annotation.data > 0, cells > 0)


@pytest.mark.parametrize("tool", ["next_cell", "background", "erase", "by napari"])
def test_another_tool_ends_picking(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace, qtbot: QtBot, tool: str
) -> None:
    image = workspace.images.current
    assert image is not None
    layer = workspace.annotating.layers.show(image.id)
    predicted(ready, fake)
    before = list(workspace.viewer.mouse_drag_callbacks)
    press(qtbot, ready.tools.buttons["accept"])
    workspace.viewer.layers.selection.active = layer
    assert workspace.annotating.brush.tool == "other"
    if tool == "by napari":
        layer.mode = "polygon"
    else:
        getattr(workspace.annotating.brush, tool)()
    assert not ready.tools.buttons["accept"].isChecked()
    assert workspace.viewer.mouse_drag_callbacks == before
    assert layer.mode != "pan_zoom"
    # and no layer is watched any more
    layer.mode = "pan_zoom"
    layer.mode = "paint"
    assert layer.mode == "paint"


def folder_dialog(page: PredictPage, qtbot: QtBot) -> FolderDialog:
    page.run.extent.setCurrentIndex(4)
    press(qtbot, page.run.predict)
    return page.run.findChildren(FolderDialog)[-1]


def test_the_dialog_of_folders_offers_all_kinds_of_results(
    ready: PredictPage, qtbot: QtBot
) -> None:
    dialog = folder_dialog(ready, qtbot)
    assert {*dialog.kinds, *dialog.objects.boxes} == {*KINDS, *OF_CELLS}
    ticked = [kind for kind, box in dialog.kinds.items() if box.isChecked()]
    assert ticked == list(KINDS)


def test_a_folder_is_begun_only_with_all_that_it_needs(
    ready: PredictPage, fake: FakeWorker, qtbot: QtBot, tmp_path: Path
) -> None:
    dialog = folder_dialog(ready, qtbot)
    for source in (tmp_path / "gone", tmp_path):
        dialog.source.value = source
        assert Path(dialog.target.value) == source / "results"
        if source == tmp_path:
            dialog.target.value = tmp_path / "elsewhere"
        dialog.accept()
        if source == tmp_path / "gone":
            assert dialog.problem.text() == f"There is no folder {source}."
    assert not fake.jobs(PredictFolderJob)[1:]
    assert fake.jobs(PredictFolderJob)[0].channel is None
    assert fake.jobs(PredictFolderJob)[0].target == str(tmp_path / "elsewhere")
    dialog = folder_dialog(ready, qtbot)
    dialog.source.value = tmp_path
    dialog.target.line_edit.value = ""
    dialog.accept()
    assert dialog.problem.text() == "Choose a folder for the results."
    dialog.target.value = tmp_path / "elsewhere"
    dialog.source.value = tmp_path  # what was chosen stays
    assert Path(dialog.target.value) == tmp_path / "elsewhere"
    for box in dialog.kinds.values():
        box.setChecked(False)
    dialog.accept()
    assert dialog.problem.text() == "Choose what is to be written."


def test_workers_of_a_cluster_may_predict_a_folder(
    ready: PredictPage, fake: FakeWorker, qtbot: QtBot, tmp_path: Path
) -> None:
    dialog = folder_dialog(ready, qtbot)
    dialog.source.value = tmp_path
    dialog.cluster.setText("slurn:4")
    dialog.accept()
    assert dialog.problem.text().startswith("a cluster is one of local[:N]")
    assert not fake.jobs(PredictFolderJob)
    dialog.cluster.setText(" local:2 ")
    dialog.accept()
    (job,) = fake.jobs(PredictFolderJob)
    assert job.cluster == "local:2"
    assert job.title == f"Predict the images in {tmp_path.name} on local:2"


def test_a_folder_is_predicted_into_another(
    ready: PredictPage,
    fake: FakeWorker,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    dialog = folder_dialog(ready, qtbot)
    dialog.source.value, dialog.target.value = tmp_path / "in", tmp_path / "out"
    dialog.kinds["classes"].setChecked(False)
    dialog.kinds["table"].setChecked(True)
    dialog.objects.boxes["geojson"].setChecked(True)
    assert dialog.channel.text() == "the only one"
    dialog.channel.setValue(2)
    dialog.accept()
    (job,) = fake.jobs(PredictFolderJob)
    assert job.channel == 2
    assert job.cluster == ""
    assert (job.source, job.target) == (str(tmp_path / "in"), str(tmp_path / "out"))
    assert job.kinds == ("probabilities", "instances", "table", "geojson")
    assert job.segmentation == Segmentation(threshold=0.3)
    panel, (handle,) = ready.run.folder, fake.running(PredictFolderJob)
    handle.event.emit(FilePredicted("a.tif", 4, 0.5))
    handle.event.emit(FilePredicted("b.tif", 0, 1, problem="b.tif: is cut off."))
    settle(ready)
    assert "2 images: 1 predicted, 1 not done." in panel.sentence.text()
    assert not panel.close_.isVisible()
    fake.end(handle)
    settle(ready)
    assert panel.failures.toPlainText() == "b.tif: is cut off."
    assert panel.sentence.level == "warning"
    press(qtbot, panel.close_)
    settle(ready)
    assert not panel.isVisible()


def test_a_folder_needs_no_open_image(page: PredictPage, model_file: Path) -> None:
    page.models.open_file(model_file)
    settle(page)
    assert not page.run.predict.isEnabled()
    page.run.extent.setCurrentIndex(4)
    assert page.run.predict.isEnabled()


def test_the_mouse_over_the_page_lets_the_model_be_read(
    ready: PredictPage, fake: FakeWorker
) -> None:
    ready.enterEvent(None)
    assert [job.model for job in fake.jobs(LoadModelJob)] == [
        str(ready.models._models.selected)
    ]


def dialog_of(page: PredictPage, workspace: Workspace, folder: Path) -> ExportDialog:
    image = workspace.images.current
    assert image is not None
    exporter = workspace.prediction.exporter
    return ExportDialog(exporter, (image.id,), folder, page)


def test_export_writes_what_is_ticked(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace, tmp_path: Path
) -> None:
    assert not ready.export.isEnabled()
    predicted(ready, fake)
    assert ready.export.isEnabled()
    dialog = dialog_of(ready, workspace, tmp_path)
    dialog.table.setChecked(False)
    dialog.probabilities.setChecked(True)
    dialog.format.setCurrentIndex(1)
    dialog.objects.boxes["geojson"].setChecked(True)
    dialog.points.setChecked(True)
    dialog.accept()
    (job,) = fake.jobs(ExportJob)
    assert job.points
    assert (job.masks, job.table, job.format) == (True, False, "ome.tif")
    assert (job.objects, job.colours) == (("geojson",), ("#56b4e9",))
    assert job.probabilities is not None
    assert job.folder == str(tmp_path)


def test_a_format_whose_package_is_missing_says_what_to_install(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = replace(FORMATS["coco"], package="no_such_package")
    monkeypatch.setitem(FORMATS, "coco", missing)
    predicted(ready, fake)
    dialog = dialog_of(ready, workspace, tmp_path)
    assert not dialog.objects.boxes["coco"].isEnabled()
    assert pip_install("formats") in dialog.objects.boxes["coco"].toolTip()
    assert dialog.objects.boxes["geojson"].isEnabled()


@pytest.mark.parametrize("yes", [True, False])
def test_files_are_overwritten_only_if_people_agree(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    yes: bool,
) -> None:
    predicted(ready, fake)
    (tmp_path / "blobs_cells.tif").touch()
    asked: list[str] = []
    button = QMessageBox.StandardButton
    monkeypatch.setattr(
        QMessageBox,
        "question",
        lambda _parent, _title, text: (
            asked.append(text) or (button.Yes if yes else button.No)
        ),
    )
    dialog_of(ready, workspace, tmp_path).accept()
    assert "blobs_cells.tif" in asked[0]
    assert len(fake.jobs(ExportJob)) == int(yes)


def test_a_folder_that_is_not_there_is_told_in_the_dialog(
    ready: PredictPage, fake: FakeWorker, workspace: Workspace, tmp_path: Path
) -> None:
    predicted(ready, fake)
    dialog = dialog_of(ready, workspace, tmp_path / "gone")
    dialog.accept()
    assert dialog.problem.text() == f"There is no folder {tmp_path / 'gone'}."
    assert fake.jobs(ExportJob) == []


def test_every_control_has_a_tooltip_and_the_page_is_narrow(
    ready: PredictPage,
) -> None:
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox

    assert ready.minimumSizeHint().width() <= 300
    for kind in (QAbstractButton, QAbstractSpinBox, QComboBox):
        for control in ready.findChildren(kind):
            if control.isVisibleTo(ready) and not control.objectName().startswith(
                "qt_"
            ):
                assert control.toolTip(), control


def test_a_page_that_is_gone_is_not_told_anything(
    workspace: Workspace, qtbot: QtBot, model_file: Path
) -> None:
    page = PredictPage(workspace)
    qtbot.addWidget(page)
    page.show()
    with qtbot.waitSignal(page.destroyed):
        page.deleteLater()
    workspace.models.add(model_file)
    workspace.models.select(model_file)
    workspace.prediction.changed.emit()
    workspace.prediction.progressed.emit(0.5)


def test_a_model_of_regions_asks_for_no_cells(
    ready: PredictPage,
    fake: FakeWorker,
    workspace: Workspace,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    assert ready.cells.isVisible()
    assert not ready.regions.isVisible()
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    tissue = (ClassInfo(name="tissue", kind="regions"),)
    path = tmp_path / "tissue.safetensors"
    save_model(type(model)(model.card.replace(classes=tissue), model.weights), path)
    ready.models.open_file(path)
    assert not ready.regions.isVisible()
    settle(ready)
    assert not ready.cells.isVisible()
    assert ready.regions.isVisible()
    box = ready.regions.largest[1]
    assert box.text() == "Only the largest piece of tissue"
    box.click()
    ready.regions.form.widget("smallest_piece").setValue(30)  # type: ignore[attr-defined]
    wanted = Segmentation(largest_only=(1,), smallest_piece=30)
    assert workspace.prediction.segmentation == wanted
    workspace.prediction.set_segmentation(Segmentation())
    assert not box.isChecked()
    ready.regions.form.setValue(Segmentation(edge_smoothing=2.5))
    assert workspace.prediction.segmentation.edge_smoothing == 2.5
    predicted(ready, fake)
    assert ready.count.text() == (
        "The model finds regions: they are shown as classes, there are no cells."
    )
    assert not ready.use_slice.isEnabled()
    assert not ready.tools.isEnabled()
    dialog = dialog_of(ready, workspace, tmp_path)
    assert dialog.masks.toolTip() == (
        "Regions: a label image with one number for each class."
    )
    assert dialog.masks.text() == "Masks of classes"
    assert dialog.table.isHidden()
    dialog.objects.boxes["geojson"].setChecked(True)
    assert not dialog.objects.boxes["geojson"].isVisibleTo(dialog)
    dialog.accept()
    assert dialog.isHidden()
    (job,) = fake.jobs(ExportJob)
    assert (job.cells, job.masks, job.table) == (None, True, False)
    assert job.objects == ()
    assert job.class_masks is not None


def test_the_image_in_view_is_denoised_without_any_model(
    page: PredictPage, workspace: Workspace, fake: FakeWorker, qtbot: QtBot
) -> None:
    panel = page.denoise
    press(qtbot, panel.denoise)
    assert not fake.jobs(TrainJob)  # there is no image
    workspace.viewer.add_image(np.ones((40, 50), np.float32), name="noisy")
    panel.minutes.setValue(0.7)
    panel.noise.setCurrentIndex(panel.noise.findData("y"))
    press(qtbot, panel.denoise)
    (job,) = fake.jobs(TrainJob)
    assert (job.settings.task, job.settings.minutes) == ("denoise", 0.7)
    assert job.settings.structured_noise == "y"
    assert panel.stop.isEnabled()
    for widget in (panel.denoise, panel.source, panel.noise, panel.minutes):
        assert not widget.isEnabled()
    fake.emit(fake.last, StepDone(1, 0.5, 0.25, 10.0))
    assert panel.progress.value() == 250
    press(qtbot, panel.stop)
    assert fake.asked(fake.last) == ["Finish"]
    fake.fail(fake.last, "that went wrong.")
    assert panel.denoise.isEnabled()
    assert panel.status.text() == "Not done."


def test_a_model_that_makes_images_is_offered_where_it_can_be_used(
    page: PredictPage,
    workspace: Workspace,
    fake: FakeWorker,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1))
    card = model.card.replace(
        classes=(),
        outputs=ImageOutputs(mean=(0.0, 1.0), sd=(1.0, 2.0)),
        training=Training.quick().with_task("regress"),
    )
    save_model(type(model)(card, model.weights), tmp_path / "stain.safetensors")
    problems: list[str] = []
    page.models.problem.connect(problems.append)
    page.models.open_file(tmp_path / "stain.safetensors")
    assert "choose it under Denoise" in problems[0]
    assert page.models.combo.findText("stain") == -1
    workspace.viewer.add_image(np.ones((40, 50), np.float32), name="grey")
    panel = page.denoise
    panel.source.setCurrentIndex(panel.source.findText("stain"))
    panel.refresh()
    assert not panel.minutes.isEnabled()
    press(qtbot, panel.denoise)
    (job,) = fake.jobs(PredictJob)
    assert job.probabilities.shape == (2, 40, 50)
    assert job.classes is None
