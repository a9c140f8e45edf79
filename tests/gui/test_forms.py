from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QSlider,
    QWidget,
)

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.settings import (
    BorderWeights,
    Prediction,
    Segmentation,
    Settings,
)
from napari_unet.core.training.training_settings import Augmentation, Training
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.number_box import FloatBox, IntBox
from napari_unet.gui.widgets import Fold
from napari_unet.session.preferences import Preferences

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

VALUES: list[Settings] = [
    BorderWeights(),
    BorderWeights.fiji(),
    BorderWeights(sigma=1e-7, w0=1 / 3, balance=1.0, near_sigma=123456.789),
    Segmentation(),
    Segmentation(threshold=0.123456789, link_z="none", fill_holes=False, min_size=0),
    Prediction(),
    Prediction(tile=512, averaging="dihedral", device="cuda:1", precision="bf16"),
    Augmentation(),
    Augmentation(mirror=False, rotation=0, scale=4, gamma=1.0, noise=1e-12),
    Training(),
    Training.quick(3),
    Training.paper(),
    Training.paper(3),
    Training(minutes=0, steps=700, learning_rate=1e-5, border=BorderWeights.fiji()),
    ClassInfo(name="nuclei", kind="regions"),
    Preferences(),
    Preferences(device="cpu", memory_gb=3.5, model_folder="/models"),
]


def _form(qtbot: QtBot, model: type[Any], *args: Any, **more: Any) -> SettingsForm[Any]:
    form = SettingsForm(model, *args, **more)
    qtbot.addWidget(form)
    return form


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_form_gives_back_what_it_was_set_to(qtbot: QtBot, value: Settings) -> None:
    form = _form(qtbot, type(value))
    told: list[Settings] = []
    form.valueChanged.connect(told.append)
    form.setValue(value)
    assert form.value() == value
    assert told == ([] if value == type(value)() else [value])


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_an_edit_changes_one_field_and_no_other(qtbot: QtBot, value: Settings) -> None:
    form = _form(qtbot, type(value))
    form.setValue(value)
    for name in type(value).model_fields:
        if name in ("by_hand", "decisions", "largest_only"):
            continue  # nobody types them
        before, box = form.value(), form.widget(name)
        if isinstance(box, QCheckBox):
            box.toggle()
        elif isinstance(box, QComboBox):
            box.setCurrentIndex((box.currentIndex() + 1) % box.count())
        elif isinstance(box, IntBox | FloatBox):
            box.stepBy(1 if box.value() < box.maximum() else -1)
        elif isinstance(box, QLineEdit):
            box.setText("cpu")
            box.editingFinished.emit()
        if form.problem.text():
            # steps and minutes contradict each other on purpose
            form.setValue(before)
        elif not isinstance(box, SettingsForm):
            changed = {
                f
                for f in type(value).model_fields
                if getattr(before, f) != getattr(form.value(), f)
            }
            assert changed == {name}


def test_setting_a_value_of_another_class_is_refused(qtbot: QtBot) -> None:
    form = _form(qtbot, Segmentation)
    with pytest.raises(TypeError, match="edits Segmentation, found BorderWeights"):
        form.setValue(BorderWeights())


def test_a_field_that_is_not_there_is_named(qtbot: QtBot) -> None:
    with pytest.raises(ValueError, match="Segmentation has no sigma; it has threshold"):
        SettingsForm(Segmentation, ["threshold", "sigma"])


def test_only_the_fields_asked_for_are_shown_and_others_are_kept(qtbot: QtBot) -> None:
    form = _form(qtbot, Training, ["minutes", "width"])
    form.setValue(Training.paper())
    box = form.widget("minutes")
    assert isinstance(box, FloatBox)
    box.setValue(30)
    assert form.value() == Training.paper().replace(minutes=30)
    with pytest.raises(KeyError):
        form.widget("depth")


def test_bounds_come_from_the_model_and_excluded_ones_cannot_be_reached(
    qtbot: QtBot,
) -> None:
    form = _form(qtbot, Training)
    momentum, width = form.widget("momentum"), form.widget("width")
    rate = form.widget("learning_rate")
    assert isinstance(momentum, FloatBox)
    assert isinstance(width, IntBox)
    assert isinstance(rate, FloatBox)
    assert (width.minimum(), width.maximum()) == (1, 256)
    momentum.setValue(2)
    assert form.value().momentum < 1
    rate.setValue(-1)
    assert 0 < form.value().learning_rate < 1e-9
    assert form.problem.text() == ""


def test_small_numbers_are_shown_and_typed_in_full(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    rate = form.widget("learning_rate")
    assert isinstance(rate, FloatBox)
    assert rate.text() == "0.003"
    form.setValue(Training(learning_rate=2.5e-6))
    assert float(rate.text()) == 2.5e-6
    rate.lineEdit().selectAll()
    qtbot.keyClicks(rate, "4e-5")
    assert form.value().learning_rate == 2.5e-6
    qtbot.keyClick(rate, Qt.Key.Key_Return)
    assert form.value().learning_rate == 4e-5


def test_letters_cannot_be_typed_into_a_number(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    rate = form.widget("learning_rate")
    assert isinstance(rate, FloatBox)
    rate.lineEdit().selectAll()
    qtbot.keyClicks(rate, "0x.02nan")
    qtbot.keyClick(rate, Qt.Key.Key_Return)
    assert form.value().learning_rate == 0.02


def test_arrows_change_the_second_digit(qtbot: QtBot) -> None:
    box = FloatBox(0, None)
    qtbot.addWidget(box)
    steps = [(0.003, 0.0031), (10.0, 11.0), (0.0, 0.1), (0.00025, 0.00026)]
    for before, after in steps:
        box.setValue(before)
        box.stepUp()
        assert box.value() == pytest.approx(after, rel=1e-12)


def test_labels_choices_units_and_help_are_readable(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    texts = [label.text() for label in form.findChildren(QLabel)]
    assert "Learning rate" in texts
    optimiser, patch = form.widget("optimiser"), form.widget("patch")
    assert isinstance(optimiser, QComboBox)
    assert isinstance(patch, IntBox)
    assert [optimiser.itemText(i) for i in range(2)] == ["SGD", "AdamW"]
    assert patch.text() == "100 px"
    assert patch.toolTip() == Training.model_fields["patch"].description
    steps = form.widget("steps")
    assert isinstance(steps, IntBox)
    # its help says "0 if in minutes", which is not its unit
    assert steps.text() == "0"


def test_every_control_of_a_form_has_a_tooltip(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    kinds = (QCheckBox, QComboBox, FloatBox, IntBox, QSlider)
    boxes = [box for kind in kinds for box in form.findChildren(kind)]
    assert len(boxes) > 30
    assert all(box.toolTip() for box in boxes)
    assert all(fold.button.toolTip() for fold in form.findChildren(Fold))


def test_a_contradiction_is_explained_and_the_last_valid_value_holds(
    qtbot: QtBot,
) -> None:
    form = _form(qtbot, Training, ["minutes", "steps"])
    told: list[Training] = []
    form.valueChanged.connect(told.append)
    minutes, steps = form.widget("minutes"), form.widget("steps")
    assert isinstance(minutes, FloatBox)
    assert isinstance(steps, IntBox)
    minutes.setValue(0)
    assert "either steps or minutes, found 0 steps" in form.problem.text()
    assert form.value() == Training()
    assert told == []
    steps.setValue(900)
    assert form.problem.text() == ""
    assert told == [Training(minutes=0, steps=900)]
    assert form.value() == told[0]


def test_a_contradiction_is_forgotten_when_a_value_is_set(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    minutes = form.widget("minutes")
    assert isinstance(minutes, FloatBox)
    minutes.setValue(0)
    form.setValue(Training.quick(3))
    assert form.problem.text() == ""
    width = form.widget("width")
    assert isinstance(width, IntBox)
    width.setValue(32)
    assert form.value() == Training.quick(3).replace(width=32)


def test_nested_settings_are_folded_and_edited_in_place(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    told: list[Training] = []
    form.valueChanged.connect(told.append)
    border = form.widget("border")
    assert isinstance(border, SettingsForm)
    sigma = border.widget("sigma")
    assert isinstance(sigma, FloatBox)
    sigma.setValue(7.5)
    assert told == [Training(border=BorderWeights(w0=3.0, sigma=7.5))]
    assert [fold.button.isChecked() for fold in form.findChildren(Fold)] == [
        False,
        False,
    ]


def test_a_slider_and_its_box_move_together(qtbot: QtBot) -> None:
    form = _form(qtbot, BorderWeights, ["w0", "sigma"], sliders={"w0": (0, 20)})
    (slider,) = form.findChildren(QSlider)
    box = form.widget("w0")
    assert isinstance(box, FloatBox)
    assert slider.value() == slider.maximum() / 2
    slider.setValue(slider.maximum() // 4)
    assert form.value() == BorderWeights(w0=5.0)
    form.setValue(BorderWeights(w0=15.0))
    assert slider.value() == 0.75 * slider.maximum()
    # beyond the usual range the box still counts
    box.setValue(40)
    assert form.value().w0 == 40
    assert slider.value() == slider.maximum()


def test_a_slider_needs_a_range(qtbot: QtBot) -> None:
    with pytest.raises(ValueError, match="from low to high"):
        SettingsForm(BorderWeights, ["w0"], sliders={"w0": (3, 3)})


def test_shares_have_a_slider(qtbot: QtBot) -> None:
    form = _form(qtbot, Segmentation, ["threshold", "ridge"])
    (slider,) = form.findChildren(QSlider)
    slider.setValue(333)
    assert form.value().threshold == 0.333


def test_whole_numbers_have_a_slider_too(qtbot: QtBot) -> None:
    form = _form(qtbot, Segmentation, ["min_size"], sliders={"min_size": (0, 500)})
    (slider,) = form.findChildren(QSlider)
    assert slider.value() == 0.04 * slider.maximum()
    slider.setValue(slider.maximum() // 2)
    assert form.value().min_size == 250
    form.setValue(Segmentation(min_size=2000))
    assert slider.value() == slider.maximum()
    assert form.value().min_size == 2000


def test_a_zero_that_leaves_it_to_the_program_is_called_automatic(
    qtbot: QtBot,
) -> None:
    form = _form(qtbot, Prediction, ["tile", "memory_gb"])
    for name in ("tile", "memory_gb"):
        assert form.widget(name).text() == "automatic"
    form.setValue(Prediction(tile=512))
    assert form.widget("tile").text() == "512 px"
    form = _form(qtbot, Segmentation, ["min_size"])
    form.setValue(Segmentation(min_size=0))
    assert form.widget("min_size").text() == "0 px"


def test_the_wheel_over_a_box_scrolls_the_page_instead(qtbot: QtBot) -> None:
    form = _form(qtbot, Segmentation)
    for name in ("threshold", "min_size", "link_z"):
        assert not _wheel(form.widget(name))
    assert form.value() == Segmentation()


def test_the_largest_form_fits_a_narrow_dock(qtbot: QtBot) -> None:
    form = _form(qtbot, Training)
    for fold in form.findChildren(Fold):
        fold.button.setChecked(True)
    assert form.minimumSizeHint().width() <= 280
    form.resize(280, form.heightForWidth(280))
    form.show()
    qtbot.waitExposed(form)
    for child in form.findChildren(QWidget):
        if child.isVisible() and child.window() is form:
            right = child.mapTo(form, QPoint(child.width(), 0)).x()
            assert right <= 280, child


def _wheel(widget: QWidget) -> bool:
    """Turn the wheel over a widget; return whether it took the event."""
    event = QWheelEvent(
        QPointF(2, 2),
        QPointF(widget.mapToGlobal(QPoint(2, 2))),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    QApplication.sendEvent(widget, event)
    return bool(event.isAccepted())
