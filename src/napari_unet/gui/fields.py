"""The widgets of one field of a form: what it is called, its bounds, unit and help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QWidget,
)

from napari_unet.gui.number_box import DECIMALS, FloatBox, IntBox, slider_for
from napari_unet.gui.widgets import guard_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic.fields import FieldInfo

_BOX_WIDTH = 124

# Names that are no words a biologist would use.
_LABELS = {
    "ndim": "Network",
    "width": "Channels",
    "norm": "Normalisation",
    "dropout": "Dropout",
    "w0": "Weight w₀",
    "sigma": "Width σ",
    "balance": "Far background",
    "near_sigma": "Near width σ",
    "minutes": "Budget in minutes",
    "steps": "Budget in steps",
    "batch": "Patches per step",
    "patch": "Patch size",
    "validation": "Held out",
    "border": "Border weights",
    "min_distance": "Waist to split at",
    "min_size": "Smallest cell",
    "clear_border": "Drop cells at the edge",
    "ridge": "Gap to close",
    "link_z": "Link through z",
    "link_iou": "Overlap to link",
    "foreground": "Patches on objects",
    "tile": "Tile size",
    "memory_gb": "Memory in GB",
    "autosave_seconds": "Save every",
}
# Choices of settings, and of one field where a word means different things.
_CHOICES: dict[object, str] = {
    ("ndim", 2): "2-D slices",
    ("ndim", 3): "3-D volumes",
    ("scheme", "paper"): "Paper",
    ("scheme", "fiji"): "Fiji plugin",
    ("link_z", "none"): "Each slice alone",
    ("averaging", "dihedral"): "8 views",
    "sgd": "SGD",
    "adamw": "AdamW",
    "fp32": "32 bits",
    "fp16": "16 bits (fp16)",
    "bf16": "16 bits (bf16)",
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "CUDA (NVIDIA GPU)",
    "mps": "Metal (Mac GPU)",
}
_UNITS = {"pixels": " px", "degrees": "°", "seconds": " s"}
# Help texts tell where 0 leaves it to the program.
_AUTOMATIC = re.compile(r"\b0 (chooses|takes)\b")
_UNIT = re.compile(r", in (pixels|degrees|seconds)\b")


@dataclass(frozen=True, slots=True)
class Field:
    """The widgets of one field, and how to read and fill them.

    Attributes
    ----------
    widget : QWidget
        The box itself.
    row : tuple of QWidget
        All of them: alone on a line, or label, box and what stands under both.
    connect : callable
        Called with a function that takes each new value.
    show : callable
        Called with a value to show.
    """

    widget: QWidget
    row: tuple[QWidget, ...]
    connect: Callable[..., object]
    show: Callable[..., object]


def label_of(name: str, info: FieldInfo) -> str:
    """Return what a field is called in a form."""
    return info.title or _LABELS.get(name) or name.replace("_", " ").capitalize()


def choice_label(name: str, choice: object) -> str:
    """Return what a choice of a field is called in a form."""
    found = _CHOICES.get((name, choice), _CHOICES.get(choice))
    return found or str(choice).replace("_", " ").capitalize()


def make_field(
    name: str, info: FieldInfo, usual: tuple[float, float] | None
) -> Field | None:
    """Return the widgets for a field of the model; None if its type has none.

    Parameters
    ----------
    name : str
        Of the field.
    info : FieldInfo
        Its type, bounds and description.
    usual : tuple of two floats or None
        Ends of a slider beside the box.
    """
    kind = info.annotation
    if get_origin(kind) is Literal:
        return _labelled(name, info, *_combo(name, get_args(kind)))
    if kind is bool:
        return _check(name, info)
    if kind is int:
        return _whole(name, info, usual)
    if kind is float:
        return _number(name, info, usual)
    if kind is str:
        return _labelled(name, info, *_text())
    return None


def _labelled(
    name: str,
    info: FieldInfo,
    widget: QWidget,
    connect: Callable[..., object],
    show: Callable[..., object],
    *extra: QWidget,
) -> Field:
    label = QLabel(label_of(name, info))
    label.setWordWrap(True)
    label.setBuddy(widget)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    widget.setFixedWidth(_BOX_WIDTH)
    for part in (label, widget, *extra):
        part.setToolTip(info.description or "")
    return Field(widget, (label, widget, *extra), connect, show)


def _check(name: str, info: FieldInfo) -> Field:
    box = QCheckBox(label_of(name, info))
    box.setToolTip(info.description or "")
    return Field(box, (box,), box.toggled.connect, box.setChecked)


def _combo(
    name: str, choices: Sequence[object]
) -> tuple[QComboBox, Callable[..., object], Callable[..., object]]:
    box = QComboBox()
    box.setMinimumContentsLength(4)
    for choice in choices:
        box.addItem(choice_label(name, choice))
    guard_wheel(box)

    def connect(edited: Callable[[object], None]) -> None:
        box.currentIndexChanged.connect(lambda index: edited(choices[index]))

    def show(choice: object) -> None:
        box.setCurrentIndex(choices.index(choice))

    return box, connect, show


def _whole(name: str, info: FieldInfo, usual: tuple[float, float] | None) -> Field:
    low, high = _bounds(info, 1)
    box = IntBox(None if low is None else int(low), None if high is None else int(high))
    box.setSuffix(_suffix(info))
    _name_zero(box, info)
    extra = (slider_for(box, usual),) if usual else ()
    return _labelled(name, info, box, box.valueChanged.connect, box.setValue, *extra)


def _number(name: str, info: FieldInfo, usual: tuple[float, float] | None) -> Field:
    low, high = _bounds(info, 10.0**-DECIMALS)
    box = FloatBox(low, high)
    box.setSuffix(_suffix(info))
    _name_zero(box, info)
    if usual is None and (low, high) == (0, 1):
        usual = (0.0, 1.0)
    extra = (slider_for(box, usual),) if usual else ()

    return _labelled(name, info, box, box.valueChanged.connect, box.setValue, *extra)


def _name_zero(box: IntBox | FloatBox, info: FieldInfo) -> None:
    """Write "automatic" in place of a 0 that leaves it to the program."""
    if box.minimum() == 0 and _AUTOMATIC.search(info.description or ""):
        box.setSpecialValueText("automatic")


def _text() -> tuple[QLineEdit, Callable[..., object], Callable[..., object]]:
    line = QLineEdit()

    def connect(edited: Callable[[str], None]) -> None:
        line.editingFinished.connect(lambda: edited(line.text()))

    return line, connect, line.setText


def _bounds(info: FieldInfo, least: float) -> tuple[float | None, float | None]:
    """Return the smallest and largest allowed value; `least` is off an excluded one."""
    low: float | None = None
    high: float | None = None
    for rule in info.metadata:
        if getattr(rule, "ge", None) is not None:
            low = rule.ge
        if getattr(rule, "gt", None) is not None:
            low = rule.gt + least
        if getattr(rule, "le", None) is not None:
            high = rule.le
        if getattr(rule, "lt", None) is not None:
            high = rule.lt - least
    return low, high


def _suffix(info: FieldInfo) -> str:
    """Return the unit that the help text names."""
    found = _UNIT.search(info.description or "")
    return _UNITS[found[1]] if found else ""
