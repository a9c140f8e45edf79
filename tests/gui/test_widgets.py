from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psygnal import Signal
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QColorDialog, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_unet.gui.theme import DARK, LIGHT, Colours, is_dark
from napari_unet.gui.widgets import (
    HINT_OPACITY,
    MARGIN,
    SPACING,
    ButtonRow,
    ColourButton,
    Elided,
    Fold,
    Heading,
    Hint,
    Placeholder,
    allow,
    blocked,
    column,
    follow,
    row,
    set_tooltip,
)

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

LONG = "The network learns from all annotated slices of the ticked images."


class Owner:
    changed = Signal(int)


class Listener(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def on_changed(self, number: int) -> None:
        self.seen.append(number)


def _page(qtbot: QtBot, *widgets: QWidget) -> QWidget:
    page = QWidget()
    qtbot.addWidget(page)
    layout = QVBoxLayout(page)
    for widget in widgets:
        layout.addWidget(widget)
    page.resize(300, 400)
    page.show()
    qtbot.waitExposed(page)
    return page


def test_a_hint_takes_room_only_while_it_says_something(qtbot: QtBot) -> None:
    empty, full = Hint(), Hint(LONG)
    page = _page(qtbot, empty, full)
    assert not empty.isVisible()
    assert full.isVisible()
    empty.setText("No background is painted.", "warning")
    assert empty.isVisible()
    assert empty.level == "warning"
    empty.setText("")
    assert not empty.isVisible()
    assert page.isVisible()


def test_a_hint_that_is_told_before_it_has_a_page_is_shown_in_it(qtbot: QtBot) -> None:
    hint = Hint()
    hint.setText(LONG)
    assert not hint.isVisible()
    page = _page(qtbot, hint)
    assert page.isVisible()
    assert hint.isVisible()


def test_sentences_wrap_where_a_dock_is_narrow(qtbot: QtBot) -> None:
    hint, heading = Hint(LONG * 3), Heading(LONG * 3)
    page = _page(qtbot, hint, heading)
    assert page.minimumSizeHint().width() < 200
    assert hint.height() > 3 * hint.fontMetrics().height()


@pytest.mark.parametrize(
    ("level", "window", "text", "shade"),
    [
        ("error", "#23242b", "#f0f1f2", DARK.error),
        ("warning", "#ebe7e6", "#1e1e21", LIGHT.warning),
    ],
)
def test_a_problem_is_drawn_in_a_colour_of_the_theme(
    qtbot: QtBot, level: str, window: str, text: str, shade: str
) -> None:
    hint = Hint("██████", level)  # type: ignore[arg-type]
    palette = hint.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor(window))
    palette.setColor(QPalette.ColorRole.WindowText, QColor(text))
    hint.setPalette(palette)
    qtbot.addWidget(hint)
    hint.show()
    image = hint.grab().toImage()
    drawn = {
        image.pixelColor(x, y).name()
        for x in range(image.width())
        for y in range(image.height())
    }
    assert shade in drawn
    assert text not in drawn


def test_an_elided_line_tells_the_rest_in_its_tooltip(qtbot: QtBot) -> None:
    line = Elided()
    line.setText(LONG, "Paint some.")
    page = _page(qtbot, line)
    page.resize(100, 50)
    assert line.toolTip() == f"{LONG}\nPaint some."
    assert line.minimumSizeHint().width() == 0
    line.setText(LONG)
    assert line.toolTip() == LONG


def test_a_colour_button_tells_of_another_colour_once(qtbot: QtBot) -> None:
    button = ColourButton("#56b4e9")
    qtbot.addWidget(button)
    told: list[str] = []
    button.colourChanged.connect(told.append)
    button.setColour("#E69F00")
    button.setColour("#e69f00")
    assert told == ["#e69f00"]
    assert button.colour() == "#e69f00"
    image = button.icon().pixmap(16, 16).toImage()
    assert image.pixelColor(8, 8).name() == "#e69f00"


def test_a_colour_button_refuses_what_is_no_colour(qtbot: QtBot) -> None:
    with pytest.raises(ValueError, match="found 'bluish'"):
        ColourButton("bluish")


@pytest.mark.parametrize(("chosen", "left"), [("#009e73", "#009e73"), ("", "#ffffff")])
def test_pressing_a_colour_button_asks_for_a_colour(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, chosen: str, left: str
) -> None:
    answer = QColor(chosen) if chosen else QColor()
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: answer)
    button = ColourButton()
    qtbot.addWidget(button)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert button.colour() == left


def test_buttons_go_on_in_the_next_line_where_there_is_no_room(qtbot: QtBot) -> None:
    names = ("New annotation", "Import masks…", "Previous", "Next", "Mark finished")
    buttons = [QPushButton(name) for name in names]
    page = _page(qtbot, ButtonRow(*buttons))
    for button in buttons:
        corner = button.mapTo(page, QPoint(button.width(), button.height()))
        assert corner.x() <= 300
        assert button.width() >= button.sizeHint().width()
    assert len({button.y() for button in buttons}) > 1


def test_a_row_gives_the_room_to_one_and_a_column_stays_at_the_top(
    qtbot: QtBot,
) -> None:
    wide, narrow, below = QPushButton("a"), QPushButton("b"), QPushButton("c")
    page = QWidget()
    qtbot.addWidget(page)
    column(page, row(wide, narrow, stretch=0), below)
    page.resize(300, 400)
    page.show()
    qtbot.waitExposed(page)
    assert narrow.width() == narrow.sizeHint().width()
    assert wide.width() + narrow.width() == 300 - 2 * MARGIN - SPACING
    assert below.y() == wide.y() + wide.height() + SPACING


def test_an_empty_state_says_what_to_do_and_lets_do_it(qtbot: QtBot) -> None:
    empty = Placeholder("Open an image first.", "Open…")
    qtbot.addWidget(empty)
    assert empty.hint.text() == "Open an image first."
    with qtbot.waitSignal(empty.pressed):
        qtbot.mouseClick(empty.button, Qt.MouseButton.LeftButton)


def test_a_fold_shows_its_content_when_its_title_is_pressed(qtbot: QtBot) -> None:
    content = QPushButton("inside")
    fold = Fold("Advanced", content)
    page = _page(qtbot, fold)
    assert page.isVisible()
    assert not content.isVisible()
    with qtbot.waitSignal(fold.toggled) as told:
        qtbot.mouseClick(fold.button, Qt.MouseButton.LeftButton)
    assert told.args == [True]
    assert content.isVisible()
    assert fold.button.isChecked()
    fold.button.setChecked(False)
    assert not content.isVisible()


def test_a_disabled_widget_says_why_and_forgets_it_when_enabled(qtbot: QtBot) -> None:
    button = QPushButton("Train")
    qtbot.addWidget(button)
    button.setToolTip("Learn from the annotation.")
    for _ in range(2):
        allow(button, False, "Nothing is annotated.")
        assert not button.isEnabled()
        told = "Learn from the annotation.\nNothing is annotated."
        assert button.toolTip() == told
    allow(button, True)
    assert button.isEnabled()
    assert button.toolTip() == "Learn from the annotation."
    set_tooltip(button, "Go on.")
    allow(button, False, "Wait.")
    assert button.toolTip() == "Go on.\nWait."


def test_blocked_objects_are_silent_inside_only(qtbot: QtBot) -> None:
    box = QSpinBox()
    qtbot.addWidget(box)
    told: list[int] = []
    box.valueChanged.connect(told.append)
    with blocked(box):
        box.setValue(3)
    box.setValue(4)
    assert told == [4]


def test_a_widget_that_qt_deleted_is_not_called_again(qtbot: QtBot) -> None:
    owner, listener = Owner(), Listener()
    follow(listener, owner.changed, listener.on_changed)
    owner.changed.emit(1)
    with qtbot.waitSignal(listener.destroyed):
        listener.deleteLater()
    owner.changed.emit(2)
    assert listener.seen == [1]
    assert len(owner.changed) == 0


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, 1 to 21."""
    bright = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        bright.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(bright) + 0.05) / (min(bright) + 0.05)


@pytest.mark.parametrize("shades", [DARK, LIGHT])
def test_text_can_be_read_on_both_themes(shades: Colours) -> None:
    for name in ("text", "first", "second", "warning", "error"):
        assert _contrast(getattr(shades, name), shades.background) > 4.5, name
    assert _contrast(shades.muted, shades.background) > 3
    assert _contrast(_hint(shades), shades.background) > 4.5


def _hint(shades: Colours) -> str:
    """Return the colour that a hint has: of the text, with what is behind it."""
    behind, text = QColor(shades.background), QColor(shades.text)
    mixed = [
        round(HINT_OPACITY * t + (1 - HINT_OPACITY) * b)
        for t, b in zip(text.getRgb()[:3], behind.getRgb()[:3], strict=True)
    ]
    return QColor(*mixed).name()


def test_the_background_is_that_of_naparis_own_themes() -> None:
    import napari.settings
    from napari.utils.theme import get_theme

    if not hasattr(napari.settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 is a little lighter")
    for name, shades in (("dark", DARK), ("light", LIGHT)):
        theme = get_theme(name)
        assert QColor(theme.background.as_hex()).name() == shades.background
        assert QColor(theme.text.as_hex()).name() == shades.text


def test_a_widget_knows_whether_it_stands_on_dark(qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    palette = widget.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor("#222222"))
    palette.setColor(QPalette.ColorRole.WindowText, QColor("#eeeeee"))
    widget.setPalette(palette)
    assert is_dark(widget)
    palette.setColor(QPalette.ColorRole.Window, QColor("#ffffff"))
    palette.setColor(QPalette.ColorRole.WindowText, QColor("#111111"))
    widget.setPalette(palette)
    assert not is_dark(widget)


def test_a_row_of_buttons_asks_for_one_line_and_takes_more_where_it_is_narrow(
    qtbot: QtBot,
) -> None:
    buttons = [QPushButton("Some words") for _ in range(3)]
    line = ButtonRow(*buttons)
    page = _page(qtbot, line)
    one = buttons[0].sizeHint()
    assert line.minimumSizeHint() == line.sizeHint() == one
    width = one.width()
    assert page.isVisible()
    assert line.heightForWidth(4 * width) == one.height()
    assert line.heightForWidth(width) == 3 * one.height() + 2 * SPACING
