"""Boxes for numbers of any size: 0.0003 stays 0.0003, and a step fits the value."""

from __future__ import annotations

import math

from qtpy.QtCore import QEvent, QLocale, QObject, Qt
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSlider, QSpinBox

from napari_unet.gui.widgets import blocked, guard_wheel

DECIMALS = 10
"""Digits after the point that a box can hold."""
_WIDEST = 1e9
_TICKS = 1000


class FloatBox(QDoubleSpinBox):
    """A number in its shortest form, between bounds; arrows change its second digit."""

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.setLocale(QLocale.c())
        self.setDecimals(DECIMALS)
        self.setRange(
            -_WIDEST if low is None else low, _WIDEST if high is None else high
        )
        self.setKeyboardTracking(False)
        guard_wheel(self)
        _select_words(self)

    def textFromValue(self, value: float) -> str:
        """Write a number without needless digits."""
        return f"{value:.{DECIMALS}g}"

    def valueFromText(self, text: str | None) -> float:
        """Read a number, also one such as 3e-4."""
        try:
            return float(self._bare(text))
        except ValueError:
            return float(self.value())

    def validate(
        self, text: str | None, place: int
    ) -> tuple[QValidator.State, str, int]:
        """Let anything be typed that may become a number in range."""
        state = QValidator.State.Intermediate
        bare = self._bare(text)
        try:
            value = float(bare)
        except ValueError:
            if set(bare) - set("0123456789.eE+-"):
                state = QValidator.State.Invalid
        else:
            if not math.isfinite(value):
                state = QValidator.State.Invalid
            elif self.minimum() <= value <= self.maximum():
                state = QValidator.State.Acceptable
        return state, text or "", place

    def stepBy(self, steps: int) -> None:
        """Go up or down by a tenth of the value's order of magnitude."""
        value = abs(self.value())
        size = 10.0 ** (math.floor(math.log10(value)) - 1) if value > 0 else 0.1
        self.setValue(float(f"{self.value() + steps * size:.6g}"))

    def _bare(self, text: str | None) -> str:
        return (text or "").removesuffix(self.suffix()).strip()


class IntBox(QSpinBox):
    """A whole number between bounds, None for no bound."""

    def __init__(self, low: int | None, high: int | None) -> None:
        super().__init__()
        limit = int(_WIDEST)
        self.setRange(-limit if low is None else low, limit if high is None else high)
        self.setKeyboardTracking(False)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        guard_wheel(self)
        _select_words(self)


class _WordSelector(QObject):
    """Selects the word that stands for a number, as "unknown", when it is clicked on.

    Digits that are typed into a word make no number: they would be refused.
    """

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.MouseButtonRelease:
            box = self.parent()
            if isinstance(box, QAbstractSpinBox) and (
                box.text() == (box.specialValueText() or None)
            ):
                box.selectAll()
        return False


def _select_words(box: FloatBox | IntBox) -> None:
    line = box.lineEdit()
    if line is not None:
        line.installEventFilter(_WordSelector(box))


def slider_for(box: FloatBox | IntBox, usual: tuple[float, float]) -> QSlider:
    """Return a slider between two usual values that moves with a box.

    The box takes any allowed number.

    ValueError if the ends are not in order.
    """
    low, high = usual
    if not low < high:
        raise ValueError(f"a slider goes from low to high, found {usual}.")
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, _TICKS)
    slider.setPageStep(_TICKS // 20)
    slider.setSingleStep(_TICKS // 100)
    guard_wheel(slider)

    def follow_box(value: float) -> None:
        with blocked(slider):
            slider.setValue(round(_TICKS * (value - low) / (high - low)))

    def move_box(tick: int) -> None:
        # four digits of the range: a slider is no place for 0.30000000000000004
        value = low + (high - low) * tick / _TICKS
        if isinstance(box, IntBox):
            box.setValue(round(value))
        else:
            box.setValue(round(value, 3 - math.floor(math.log10(high - low))))

    box.valueChanged.connect(follow_box)
    slider.valueChanged.connect(move_box)
    follow_box(box.value())
    return slider
