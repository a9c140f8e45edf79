"""The whole loop in a real napari window, with real mouse events and a real worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QPushButton, QTabBar

from benchmarks.interaction.hand import Hand
from napari_unet.core.events import CorrectionUsed
from napari_unet.core.training.training_settings import Training
from napari_unet.gui.cell_tools import CellTools
from napari_unet.gui.notifications import notify
from napari_unet.gui.train.network_box import NetworkBox
from napari_unet.io import samples
from napari_unet.io.images import read_labels
from napari_unet.session.images.layers import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.session.workspace import Workspace

pytestmark = pytest.mark.viewer

_SHIFT = Qt.KeyboardModifier.ShiftModifier
_CONTROL = Qt.KeyboardModifier.ControlModifier
# A short side: the tests' machine has two cores.
_SIDE = 256
_TINY = Training.quick().replace(width=8, depth=2, patch=64, minutes=0, steps=100_000)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def open_napari(
    home: Path, make_napari_viewer: Callable[..., Any]
) -> Iterator[Callable[[], tuple[Any, Hand]]]:
    hands = []

    def make() -> tuple[Any, Hand]:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        hands.append(Hand(viewer))
        hands[-1].wait(0.3)
        return viewer, hands[-1]

    yield make
    from napari_unet.gui import workspaces

    # pytest keeps `make` until napari has looked for windows that are left
    hands.clear()
    for host in list(workspaces._HOSTS.values()):
        host.close()


def _stack() -> tuple[np.ndarray, np.ndarray]:
    pairs = samples.nuclei()[:3]
    images = np.stack([np.asarray(i.data)[:_SIDE, :_SIDE] for i, _ in pairs])
    truth = np.stack([np.asarray(t.data)[:_SIDE, :_SIDE] for _, t in pairs])
    return images, truth


def _workspace(viewer: Any) -> Workspace:
    from napari_unet.gui.workspaces import host_of

    return host_of(viewer).workspace


def _begin(viewer: Any, hand: Hand) -> tuple[Workspace, Any]:
    """Open a stack and the docks; return the annotation layer that was made."""
    viewer.add_image(_stack()[0], name="stack")
    hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
    workspace = _workspace(viewer)
    hand.wait_until(lambda: find(viewer, "annotation"))
    return workspace, find(viewer, "annotation")[0]


def _button(hand: Hand, text: str) -> QPushButton | None:
    found = hand.window.findChildren(QPushButton)
    shown = [b for b in found if b.text() == text and b.isVisible() and b.isEnabled()]
    return shown[0] if shown else None


def _paint_cells(hand: Hand, workspace: Workspace, layer: Any, z: int) -> None:
    """Paint some cells as the truth has them, and background around them."""
    truth = _stack()[1][z]
    workspace.viewer.dims.set_current_step(0, z)
    hand.wait(0.1)
    for label in np.unique(truth[truth > 0])[:6]:
        ys, xs = np.nonzero(truth == label)
        if len(ys) < 200 or min(ys.min(), xs.min()) < 8:
            continue
        layer.brush_size = 6
        rows = np.unique(ys)[3:-3:4]
        path = [(int(r), int(xs[ys == r].min()) + 3) for r in rows]
        path += [(int(r), int(xs[ys == r].max()) - 3) for r in rows[::-1]]
        hand.drag(path, layer)
        workspace.annotating.brush.next_cell()
    workspace.annotating.brush.background()
    layer.brush_size = 10
    free = np.argwhere(truth == 0)
    for y, x in free[:: len(free) // 12]:
        if (truth[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] == 0).all():
            hand.drag([(int(y), int(x)), (int(y), int(x))], layer)


def test_paint_train_watch_predict_export(
    open_napari: Callable[[], tuple[Any, Hand]], home: Path
) -> None:
    viewer, hand = open_napari()
    workspace, layer = _begin(viewer, hand)
    for z in (0, 1):
        _paint_cells(hand, workspace, layer, z)
    assert len(workspace.images.places(workspace.images.current.id)) == 2
    viewer.dims.set_current_step(0, 2)
    workspace.training.plan.set(training=Training.quick().replace(minutes=0, steps=80))
    hand.click(_button(hand, "Train"))
    hand.wait_until(lambda: find(viewer, "cells"))
    first = find(viewer, "cells")[0]
    hand.wait_until(lambda: np.asarray(first.data[2]).any())
    early = np.array(first.data[2])
    hand.wait_until(lambda: (np.asarray(first.data[2]) != early).any())
    hand.wait_until(lambda: workspace.training.state == "idle")
    assert workspace.training.progress.comparison is not None
    workspace.prediction.predict("layer")
    hand.wait_until(lambda: not workspace.prediction.running)
    hand.wait_until(lambda: find(viewer, "cells"))
    cells = find(viewer, "cells")[0]
    hand.wait_until(lambda: all(np.asarray(p).any() for p in cells.data))
    truth = _stack()[1]
    overlap = (np.asarray(cells.data) > 0) & (truth > 0)
    union = (np.asarray(cells.data) > 0) | (truth > 0)
    assert overlap.sum() / union.sum() > 0.6
    hand.wait_until(lambda: not workspace.worker.busy)
    (home / "out").mkdir()
    workspace.prediction.exporter.export(
        home / "out",
        [workspace.images.current.id],
        masks=True,
        probabilities=True,
        table=True,
        format="tif",
    )
    hand.wait_until(lambda: list((home / "out").glob("*.csv")))
    hand.wait_until(lambda: not workspace.worker.busy)
    masks = next(p for p in (home / "out").glob("*.tif") if "prob" not in p.name)
    np.testing.assert_array_equal(np.asarray(read_labels(masks).data), cells.data)


def test_another_network_is_chosen_and_trained(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    from napari_unet.gui import docks

    viewer, hand = open_napari()
    workspace, layer = _begin(viewer, hand)
    _paint_cells(hand, workspace, layer, 0)
    workspace.training.plan.set(training=_TINY.replace(steps=3))
    docks.show_dock(viewer, docks.TrainDock)
    hand.wait(0.3)
    (box,) = hand.window.findChildren(NetworkBox)
    offers = workspace.training.offers
    hand.click(box)
    hand.wait_until(lambda: any(o.cost for o in offers.offers()))
    hand.wait_until(lambda: not workspace.worker.busy)
    # each has been tried out here, or says why it cannot be trained
    assert all(bool(o.cost) != bool(o.problem) for o in offers.offers())
    box.hidePopup()
    for offer in offers.offers():
        if offer.problem:
            assert not hand.choose(box, offer.name)
    assert workspace.training.plan.settings.network == "unet"
    assert hand.choose(box, "resunet")
    assert workspace.training.plan.settings.network == "resunet"
    hand.click(_button(hand, "Train"))
    hand.wait_until(lambda: workspace.training.state == "idle")
    card = workspace.models.card
    assert card is not None
    assert card.training.network == "resunet"
    assert card.steps == 3


def _tabs(hand: Hand) -> list[str]:
    """Return the titles of the tabs of docks, from left to right."""
    bars = [bar for bar in hand.window.findChildren(QTabBar) if bar.isVisible()]
    found = [bar for bar in bars if bar.count() == 3]
    return [bar.tabText(n) for bar in found for n in range(bar.count())]


@pytest.mark.parametrize("title", ["Train", "Predict"])
def test_any_dock_opens_all_of_them(
    open_napari: Callable[[], tuple[Any, Hand]], title: str
) -> None:
    viewer, hand = open_napari()
    hand.menu("Plugins", "U-Net", f"{title} (U-Net)")
    hand.wait_until(lambda: len(viewer.window.dock_widgets) == 3)
    # each takes its title a moment after it is shown
    hand.wait_until(lambda: _tabs(hand) == ["Annotate", "Train", "Predict"])
    dock = viewer.window.dock_widgets[f"{title} (U-Net)"]
    hand.wait_until(lambda: not dock.visibleRegion().isEmpty())
    # the Tab key goes through none that is under another tab
    frames = {one: one.parentWidget() for one in viewer.window.dock_widgets.values()}
    hand.wait_until(lambda: [d for d, f in frames.items() if f.isEnabled()] == [dock])
    hand.wait_until(lambda: hand.window.focusWidget() is dock._scroll)


@pytest.mark.parametrize("first", ["menu", "command"])
def test_a_dock_is_there_once_whichever_way_it_is_opened(
    open_napari: Callable[[], tuple[Any, Hand]], first: str
) -> None:
    viewer, hand = open_napari()
    viewer.add_image(_stack()[0], name="stack")
    if first == "menu":
        hand.menu("Layers", "Annotate", "Annotate (U-Net)")
        hand.wait_until(lambda: find(viewer, "annotation"))
    hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
    hand.wait_until(lambda: find(viewer, "annotation"))
    docks = dict(viewer.window.dock_widgets)
    assert sorted(docks) == ["Annotate (U-Net)", "Predict (U-Net)", "Train (U-Net)"]
    frames = [dock.parentWidget() for dock in docks.values()]
    assert sorted(f.windowTitle() for f in frames) == ["Annotate", "Predict", "Train"]
    assert len(hand.window.tabifiedDockWidgets(frames[0])) == 2
    hand.wait_until(lambda: _tabs(hand) == ["Annotate", "Train", "Predict"])
    # napari's own entry hides the dock, and shows the same one again
    annotate = docks["Annotate (U-Net)"]
    hand.menu("Layers", "Annotate", "Annotate (U-Net)")
    assert not annotate.parentWidget().isVisible()
    hand.menu("Layers", "Annotate", "Annotate (U-Net)")
    hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
    hand.wait_until(annotate.isVisible)
    assert list(viewer.window.dock_widgets.values()) == list(docks.values())


def test_first_mask_on_a_sample_in_eight_presses(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    viewer, hand = open_napari()
    hand.menu("File", "Open Sample", "U-Net", "Sample: fluorescence nuclei (BBBC039)")
    hand.wait_until(lambda: len(viewer.layers) > 0)
    hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
    hand.wait_until(lambda: find(viewer, "annotation"))
    layer = find(viewer, "annotation")[0]
    hand.wait(0.5)
    truth = np.asarray(samples.nuclei()[0][1].data)
    for label in np.unique(truth[truth > 0])[5:9]:
        ys, xs = np.nonzero(truth == label)
        middle = (int(ys.mean()), int(xs.mean()))
        hand.drag([middle, (middle[0] + 3, middle[1] + 3)], layer)
        hand.key(Qt.Key.Key_N)
    hand.key(Qt.Key.Key_G)
    empty = np.argwhere(truth == 0)
    for y, x in empty[5000 :: len(empty) // 6]:
        if (truth[max(y - 12, 0) : y + 12, max(x - 12, 0) : x + 12] == 0).all():
            hand.drag([(int(y), int(x)), (int(y), int(x) + 2)], layer)
    values = np.unique(layer.data)
    assert {0, 1, 2, 3} <= set(values.tolist())
    hand.wait_until(lambda: _workspace(viewer).training.can_start[0])
    hand.click(_button(hand, "Train"))
    hand.wait_until(
        lambda: any(np.asarray(p.data).any() for p in find(viewer, "cells"))
    )
    assert hand.presses <= 8
    _workspace(viewer).training.stop()


def _train_on_truth(viewer: Any, hand: Hand) -> tuple[Workspace, Any]:
    workspace, layer = _begin(viewer, hand)
    labels = np.zeros(layer.data.shape, layer.data.dtype)
    labels[0] = _stack()[1][0].astype(labels.dtype) + 1
    layer.data = labels
    workspace.training.plan.set(training=_TINY)
    workspace.training.start()
    hand.wait_until(lambda: len(workspace.training.progress.curve.points) > 3)
    return workspace, layer


def test_a_killed_worker_is_said_once_and_training_goes_on(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    viewer, hand = open_napari()
    workspace, _ = _train_on_truth(viewer, hand)
    said: list[tuple[str, str]] = []
    workspace.message.connect(lambda level, text: said.append((level, text)))
    run = workspace.store.run_folder
    hand.wait_until(lambda: list(run.glob("*.checkpoint.safetensors")))
    step = workspace.training.progress.curve.points[-1][0]
    psutil.Process(workspace.worker.pids["network"]).kill()
    hand.wait_until(lambda: workspace.training.state == "idle")
    assert len([s for s in said if s[0] == "error"]) == 1
    workspace.training.start()
    hand.wait_until(lambda: workspace.training.state == "training")

    def last_step() -> int:
        points = workspace.training.progress.curve.points
        return points[-1][0] if points else 0

    hand.wait_until(lambda: last_step() >= step)


def test_two_viewers_have_a_worker_each(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    first, hand = open_napari()
    workspace, _ = _train_on_truth(first, hand)
    second, other = open_napari()
    second.window.activate()
    another, _ = _begin(second, other)
    another.worker.warm_up("network")
    hand.wait_until(lambda: "network" in another.worker.pids)
    assert another is not workspace
    assert another.worker.pids["network"] != workspace.worker.pids["network"]
    steps = len(workspace.training.progress.curve.points)
    hand.wait_until(lambda: len(workspace.training.progress.curve.points) > steps)


def test_closing_a_dock_leaves_the_training_alone(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    viewer, hand = open_napari()
    workspace, _ = _train_on_truth(viewer, hand)
    viewer.window.remove_dock_widget("all")
    hand.wait(0.5)
    step = workspace.training.progress.curve.points[-1][0]
    hand.wait_until(lambda: workspace.training.progress.curve.points[-1][0] > step)
    hand.menu("Layers", "Segment", "Train (U-Net)")
    hand.wait(0.5)
    assert _workspace(viewer) is workspace
    assert workspace.training.state == "training"
    hand.click(_button(hand, "Stop"))
    hand.wait_until(lambda: workspace.training.state == "idle")


def _predicted(workspace: Workspace, hand: Hand) -> np.ndarray:
    """Let a model have found the cells of the first slice; return them."""
    workspace.viewer.dims.set_current_step(0, 0)
    hand.wait(0.5)
    image, truth = workspace.images.current, _stack()[1][0]
    entry = workspace.models.entries[0]
    results = workspace.prediction.model_results.of(
        image.id, entry, workspace.store.project
    )
    results.claim()
    results.files.arrays["cells"][0] = truth
    results.cells.counts[(0, 0)] = results.cells.highest = int(truth.max())
    results.cells.version[(0, 0)] = workspace.prediction.segmenter._version
    results.cells_found((0, 0))
    return truth


def test_clicks_pick_cells_and_paint_nothing(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    from napari_unet.gui import docks

    viewer, hand = open_napari()
    workspace, layer = _begin(viewer, hand)
    truth = _predicted(workspace, hand)
    # the first pick makes it anew, ready to be painted
    viewer.layers.remove(layer)
    layer = viewer.layers["stack"]
    docks.show_dock(viewer, docks.PredictDock)
    hand.wait_until(lambda: _button(hand, "Accept"))
    hand.click(_button(hand, "Accept"))
    picked = np.zeros_like(truth, bool)
    for label in np.unique(truth[truth > 0])[:3]:
        ys, xs = np.nonzero(truth == label)
        at = int(ys[len(ys) // 2]), int(xs[len(ys) // 2])
        hand.press(at, layer)
        hand.release(at, layer)
        picked |= truth == label
        hand.wait(0.2)
        (layer,) = find(viewer, "annotation")
    np.testing.assert_array_equal(np.asarray(layer.data[0]) > 0, picked)
    # the brush comes back with its button
    docks.show_dock(viewer, docks.AnnotateDock)
    hand.wait_until(lambda: _button(hand, "Background (G)"))
    hand.click(_button(hand, "Background (G)"))
    free = np.argwhere(truth == 0)[len(truth) * 40]
    hand.drag([free, free], layer)
    assert layer.data[0][tuple(free)] == 1


def test_deleting_every_layer_in_mid_prediction_breaks_nothing(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    viewer, hand = open_napari()
    workspace, _ = _train_on_truth(viewer, hand)
    workspace.training.stop()
    hand.wait_until(lambda: workspace.training.state == "idle")
    workspace.prediction.predict("layer")
    hand.wait_until(lambda: find(viewer, "cells"))
    viewer.layers.clear()
    hand.wait_until(lambda: not workspace.prediction.running)
    hand.wait(0.5)
    viewer.add_image(_stack()[0], name="again")
    hand.wait(0.3)


def test_closing_napari_writes_a_checkpoint_and_ends_the_worker(
    open_napari: Callable[[], tuple[Any, Hand]], home: Path
) -> None:
    import psutil

    viewer, hand = open_napari()
    workspace, _ = _train_on_truth(viewer, hand)
    process = workspace.worker.pids["network"]
    # nobody is there to answer
    workspace.preferences = workspace.preferences.replace(ask_before_closing=False)
    viewer.close()
    hand.wait_until(lambda: workspace.closed)
    assert not psutil.pid_exists(process)
    assert list(home.rglob("*.checkpoint.safetensors"))


def _select_model(home: Path, workspace: Workspace, *, damaged: bool = False) -> None:
    """Choose a model with random weights; a damaged one has shapes it should not."""
    from tests.example_models import random_model

    from napari_unet.core.model import Model
    from napari_unet.core.network.architecture import u_shape
    from napari_unet.io.model_file import save_model

    model = random_model(u_shape(ndim=2, channels=1, classes=2, width=16, depth=2))
    if damaged:
        weights = {name: values[:1] for name, values in model.weights.items()}
        model = Model(model.card, weights)
    path = home / "random.safetensors"
    save_model(model, path)
    workspace.models.add(path)
    workspace.models.select(path)


def test_closing_docks_renaming_and_moving_layers_leave_a_prediction_alone(
    open_napari: Callable[[], tuple[Any, Hand]], home: Path
) -> None:
    viewer, hand = open_napari()
    workspace, _ = _begin(viewer, hand)
    _select_model(home, workspace)
    workspace.prediction.predict("layer", averaging="dihedral", tile=64)
    hand.wait_until(lambda: workspace.prediction.progress > 0)
    assert workspace.prediction.running
    viewer.window.remove_dock_widget("all")
    for number, layer in enumerate(viewer.layers):
        layer.name = f"anything {number}"
    viewer.layers.reverse()
    hand.wait_until(lambda: not workspace.prediction.running)
    workspace.showing.set_shown("probability", True)
    probability = find(viewer, "probability")[0]
    assert all(np.asarray(plane).any() for plane in probability.data)
    assert find(viewer, "cells")


def test_what_torch_objects_to_is_one_notification(
    open_napari: Callable[[], tuple[Any, Hand]], home: Path
) -> None:
    from napari.utils.notifications import notification_manager

    viewer, hand = open_napari()
    workspace, _ = _begin(viewer, hand)
    hand.wait(0.5)
    _select_model(home, workspace, damaged=True)
    before = len(notification_manager.records)
    workspace.prediction.predict("slice")
    hand.wait_until(lambda: len(notification_manager.records) > before)
    hand.wait(1)
    said = [str(record) for record in notification_manager.records[before:]]
    assert len(said) == 1
    assert "\n" not in said[0].strip()
    assert not workspace.prediction.running


def test_a_long_message_is_shown_whole(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    _, hand = open_napari()
    sentence = "Something that takes many words, as names of files do. " * 6
    notify("warning", sentence)
    (box,) = [b for b in hand.window.findChildren(QDialog) if hasattr(b, "message")]
    label = box.message
    # the text that Qt draws, which napari cuts
    hand.wait_until(lambda: QLabel.text(label) == sentence)
    hand.wait_until(lambda: box.rect().contains(label.geometry()))
    assert box.timer.interval() > 10_000
    box.close()


def test_corrections_are_used_and_layers_move_while_it_trains(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    viewer, hand = open_napari()
    workspace, layer = _begin(viewer, hand)
    happened: list[object] = []
    workspace.worker.started.connect(
        lambda handle: handle.event.connect(happened.append)
    )
    layer.data = np.where(_stack()[1] > 0, _stack()[1] + 1, 1).astype(layer.data.dtype)
    workspace.training.plan.set(training=_TINY)
    workspace.training.start()
    hand.wait_until(lambda: len(workspace.training.progress.curve.points) > 3)
    for number, other in enumerate(viewer.layers):
        other.name = f"anything {number}"
    viewer.layers.reverse()
    viewer.layers.selection.active = layer
    assert not any(isinstance(event, CorrectionUsed) for event in happened)
    layer.preserve_labels = False
    layer.mode = "paint"
    hand.drag([(100, 100), (120, 120)], layer)
    hand.wait_until(lambda: any(isinstance(e, CorrectionUsed) for e in happened))
    step = workspace.training.progress.curve.points[-1][0]
    hand.wait_until(lambda: workspace.training.progress.curve.points[-1][0] > step)
    assert workspace.training.state == "training"


def test_annotating_by_keyboard(open_napari: Callable[[], tuple[Any, Hand]]) -> None:
    viewer, hand = open_napari()
    workspace, layer = _begin(viewer, hand)
    workspace.annotating.classes.add("debris", "regions")
    viewer.layers.selection.active = layer
    viewer.dims.set_current_step(0, 0)
    image = workspace.images.current.id

    def stroke(y: int, x: int) -> int:
        hand.drag([(y, x), (y + 4, x + 4)], layer)
        return int(layer.data[(viewer.dims.current_step[0], y, x)])

    hand.key(Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    assert workspace.annotating.brush.active_class == 1
    first = stroke(60, 60)
    hand.key(Qt.Key.Key_N)
    second = stroke(60, 120)
    hand.key(Qt.Key.Key_G)
    assert (first, second, stroke(120, 60)) == (2, 3, 1)
    hand.key(Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    assert workspace.annotating.brush.active_class == 2
    hand.key(Qt.Key.Key_S)
    assert workspace.annotating.finishing.is_finished(image, 0, 0)
    hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.AltModifier)
    assert not workspace.annotating.finishing.is_finished(image, 0, 0)
    viewer.dims.set_current_step(0, 2)
    hand.key(Qt.Key.Key_N)
    stroke(60, 60)
    hand.key(Qt.Key.Key_A)
    assert viewer.dims.current_step[0] == 0
    hand.key(Qt.Key.Key_D)
    assert viewer.dims.current_step[0] == 2


_PAINTER = """
import sys
import napari, numpy as np
from benchmarks.interaction.hand import Hand
from napari_unet.session.images.layers import find

viewer = napari.Viewer()
viewer.window.resize(1366, 768)
hand = Hand(viewer)
hand.wait(0.3)
viewer.add_image(np.load(sys.argv[1]), name="stack")
hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
hand.wait_until(lambda: find(viewer, "annotation"))
layer = find(viewer, "annotation")[0]
for number in range(1000):
    y, x = 20 + number // 10 * 20, 20 + number % 10 * 20
    hand.drag([(y, x), (y, x + 4)], layer)
    print(y, x, flush=True)
    hand.wait(0.2)
"""


def test_what_was_painted_is_there_after_napari_was_killed(
    open_napari: Callable[[], tuple[Any, Hand]], home: Path
) -> None:
    np.save(home / "stack.npy", _stack()[0])
    painter = subprocess.Popen(
        [sys.executable, "-c", _PAINTER, str(home / "stack.npy")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert painter.stdout is not None
    strokes = []
    for line in painter.stdout:
        values = line.split()
        if len(values) == 2 and values[0].isdecimal():
            strokes.append((int(values[0]), int(values[1])))
        if len(strokes) == 15:
            break
    painter.kill()
    painter.wait()
    painter.stdout.close()
    assert len(strokes) == 15
    viewer, hand = open_napari()
    viewer.add_image(_stack()[0], name="the same")
    hand.menu("Layers", "Segment", "Segment cells: annotate, train, predict (U-Net)")
    hand.wait_until(lambda: _button(hand, "Restore"))
    hand.click(_button(hand, "Restore"))
    hand.wait_until(lambda: find(viewer, "annotation"))
    layer = find(viewer, "annotation")[0]
    # the docks tick between two strokes: only the last ones may be lost
    assert all(layer.data[:, y, x].any() for y, x in strokes[:-3])


def test_cells_are_edited_by_mouse_and_by_keys_alone(
    open_napari: Callable[[], tuple[Any, Hand]],
) -> None:
    from napari_unet.gui import docks

    viewer, hand = open_napari()
    workspace, painted = _begin(viewer, hand)
    truth = _predicted(workspace, hand)
    (cells,) = find(viewer, "cells")
    docks.show_dock(viewer, docks.PredictDock)
    hand.wait_until(lambda: _button(hand, "Accept"))
    (row,) = (r for r in hand.window.findChildren(CellTools) if "accept" in r.buttons)
    # a line across a cell, by mouse: it parts the cell, and the canvas stays
    hand.click(row.buttons["split"])
    assert viewer.layers.selection.active is cells
    sizes = np.bincount(truth.ravel())
    sizes[0] = 0
    ys, xs = np.nonzero(truth == sizes.argmax())
    scene = getattr(viewer, "scene", viewer)  # of napari 0.9
    centre, x = scene.camera.center, float(np.median(xs))
    rows = np.linspace(max(ys.min() - 2, 0), min(ys.max() + 2, len(truth) - 1), 8)
    hand.drag([(float(row), x) for row in rows], cells)
    hand.wait_until(lambda: workspace.prediction.cells_in_view() > truth.max())
    assert scene.camera.center == centre
    assert cells.mode == "pan_zoom"
    hand.key(Qt.Key.Key_Z, _CONTROL)
    np.testing.assert_array_equal(cells.data[0], truth)
    # from here on by keys: the least sure cell is accepted, the next one deleted
    assert hand.window.focusWidget() is not None
    hand.key(Qt.Key.Key_Q)
    for key, now in ((Qt.Key.Key_U, 0), (Qt.Key.Key_Delete, 1)):
        hand.key(Qt.Key.Key_T)
        hand.wait(0.1)
        hand.key(key)
        hand.wait(0.1)
        assert workspace.prediction.cells_in_view() == truth.max() - now
    accepted = np.asarray(painted.data[0]) > 0
    assert len(np.unique(truth[accepted])) == 1
    # a cell is drawn with the arrows where the deleted one was
    hand.key(Qt.Key.Key_I)
    hand.key(Qt.Key.Key_C, _SHIFT)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left):
        for _ in range(4):
            hand.key(key, _SHIFT)
    hand.key(Qt.Key.Key_C, _SHIFT)
    hand.wait_until(lambda: workspace.prediction.cells_in_view() == truth.max())
    assert workspace.editor.tool is not None
    # and the brush paints a stroke with them, which is one step of undo
    viewer.layers.selection.active = painted
    hand.key(Qt.Key.Key_N)
    assert workspace.editor.tool is None
    before = np.array(painted.data)
    hand.key(Qt.Key.Key_C, _SHIFT)
    for _ in range(8):
        hand.key(Qt.Key.Key_Down, _SHIFT)
    hand.key(Qt.Key.Key_C)
    label = painted.selected_label
    hand.wait_until(lambda: (np.asarray(painted.data) == label).any())
    stroke = np.argwhere(np.asarray(painted.data[0]) == label)
    assert np.ptp(stroke[:, 0]) > np.ptp(stroke[:, 1])
    painted.undo()
    np.testing.assert_array_equal(painted.data, before)
