"""A form for any settings: labels, bounds, units and help come from the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_unet.core.settings import Settings, explain, form_hints
from napari_unet.core.text import capitalised
from napari_unet.gui.number_box import DECIMALS, FloatBox, IntBox, slider_for
from napari_unet.gui.widgets import SPACING, Fold, Hint, allow, guard_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic.fields import FieldInfo

S = TypeVar("S", bound=Settings)

_BOX_WIDTH = 124


@dataclass(frozen=True, slots=True)
class FormRow:
    """The widgets of one field, and how to read and fill them."""

    box: QWidget  # what is edited
    widgets: tuple[QWidget, ...]  # alone on a line, or label, box and what stands below
    connect: Callable[..., object]  # takes a function that takes each new value
    show: Callable[..., object]  # takes a value to show


class SettingsForm(QWidget, Generic[S]):
    """Edits one settings object.

    Fields without a known widget keep their value. If an edit makes the settings
    invalid, the reason is shown under the fields, and the last valid settings count
    until further edits make them valid again.

    ValueError if a field is not one of the model's.

    Parameters
    ----------
    model_class : type of Settings
        Must have a default for each field.
    fields : sequence of str, optional
        Fields to show, in this order; all by default.
    sliders : mapping of str to tuple of two floats, optional
        Usual range of fields that get a slider beside the box. Shares, which go from 0
        to 1, have one anyway.
    """

    valueChanged = Signal(object)

    def __init__(
        self,
        model_class: type[S],
        fields: Sequence[str] | None = None,
        *,
        sliders: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        known = model_class.model_fields
        unknown = [name for name in fields or () if name not in known]
        if unknown:
            raise ValueError(
                f"{model_class.__name__} has no {', '.join(unknown)}; "
                f"it has {', '.join(known)}."
            )
        self._class = model_class
        self._value = model_class()
        self._filling = False
        self._pending: dict[str, object] = {}
        self._rows: dict[str, FormRow] = {}
        # WIDGETS
        self.problem = Hint(level="error")
        # LAYOUT
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACING)
        self._grid.setVerticalSpacing(SPACING)
        self._grid.setColumnStretch(0, 1)
        for name in fields or known:
            row = make_row(name, known[name], (sliders or {}).get(name))
            if row is not None:
                self._add(name, row)
        self._grid.addWidget(self.problem, self._grid.rowCount(), 0, 1, 2)
        self._fill()

    def value(self) -> S:
        """Return the settings; what is being typed counts once it is confirmed."""
        return self._value

    def setValue(self, value: S) -> None:
        """Show other settings; emits `valueChanged` if they differ.

        TypeError if they are of another class.
        """
        if not isinstance(value, self._class):
            raise TypeError(
                f"the form edits {self._class.__name__}, found {type(value).__name__}."
            )
        changed = value != self._value
        self._value = value
        self._pending = {}
        self._fill()
        if changed:
            self.valueChanged.emit(value)

    def widget(self, name: str) -> QWidget:
        """Return the box of a field, to connect or disable it; KeyError if none."""
        return self._rows[name].box

    def allow(self, name: str, allowed: bool, reason: str = "") -> None:
        """Let a field be edited, or not and say why; KeyError if there is none."""
        for widget in self._rows[name].widgets:
            allow(widget, allowed, reason)

    def _add(self, name: str, row: FormRow) -> None:
        self._rows[name] = row
        line = self._grid.rowCount()
        if len(row.widgets) == 1:
            self._grid.addWidget(row.widgets[0], line, 0, 1, 2)
        else:
            label, box, *below = row.widgets
            self._grid.addWidget(label, line, 0)
            self._grid.addWidget(box, line, 1)
            for widget in below:
                self._grid.addWidget(widget, line + 1, 0, 1, 2)
        row.connect(partial(self._on_edited, name))

    def _fill(self) -> None:
        self._filling = True
        for name, row in self._rows.items():
            row.show(getattr(self._value, name))
        self._filling = False
        self.problem.setText("")

    def _on_edited(self, name: str, new: object) -> None:
        if self._filling:
            return
        # kept until all edits are valid together: steps and minutes change one by one
        self._pending[name] = new
        try:
            value = self._value.replace(**self._pending)
        except ValidationError as error:
            self.problem.setText(capitalised(explain(error)), "error")
            return
        self._pending = {}
        self.problem.setText("")
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)


def make_row(
    name: str, info: FieldInfo, usual: tuple[float, float] | None = None
) -> FormRow | None:
    """Return the widgets for a field of a model; None if its type has none.

    A field without a title is labelled with its `name`. A number with a `usual` range
    has a slider below its box.
    """
    kind = info.annotation
    label = info.title or name.replace("_", " ").capitalize()
    if isinstance(kind, type) and issubclass(kind, Settings):
        form: SettingsForm[Any] = SettingsForm(kind)
        fold = Fold(label, form)
        fold.button.setToolTip(info.description or (kind.__doc__ or "").split("\n")[0])
        return FormRow(form, (fold,), form.valueChanged.connect, form.setValue)
    if kind is int or kind is float:
        return _number_row(label, info, usual)
    if kind is bool:
        box = CheckBox(text=label)
        box.native.setToolTip(info.description or "")
        show = partial(setattr, box, "value")
        return FormRow(box.native, (box.native,), box.changed.connect, show)
    if get_origin(kind) is Literal:
        labels = form_hints(info).get("choices", {})
        choices = [
            (labels.get(str(c)) or str(c).replace("_", " ").capitalize(), c)
            for c in get_args(kind)
        ]
        box = ComboBox(choices=choices)
        box.native.setMinimumContentsLength(4)
        guard_wheel(box.native)
    elif kind is str:
        box = LineEdit()
    else:
        return None
    show = partial(setattr, box, "value")
    return _labelled_row(label, info, (box.native,), box.changed.connect, show)


def _number_row(
    label: str, info: FieldInfo, usual: tuple[float, float] | None
) -> FormRow:
    whole, hints = info.annotation is int, form_hints(info)
    low, high = _bounds(info, 1 if whole else 10.0**-DECIMALS)
    box = (IntBox if whole else FloatBox)(low, high)
    box.setSuffix(hints.get("unit", ""))
    box.setSpecialValueText(hints.get("zero", ""))
    if usual is None and not whole and (low, high) == (0, 1):
        usual = (0.0, 1.0)
    widgets = (box, slider_for(box, usual)) if usual else (box,)
    return _labelled_row(label, info, widgets, box.valueChanged.connect, box.setValue)


def _labelled_row(
    text: str,
    info: FieldInfo,
    widgets: tuple[QWidget, ...],
    connect: Callable[..., object],
    show: Callable[..., object],
) -> FormRow:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setBuddy(widgets[0])
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    widgets[0].setFixedWidth(_BOX_WIDTH)
    for widget in (label, *widgets):
        widget.setToolTip(info.description or "")
        widget.setAccessibleName(text)
    return FormRow(widgets[0], (label, *widgets), connect, show)


def _bounds(info: FieldInfo, least: float) -> tuple[Any, Any]:
    """Return the smallest and largest allowed value, None where there is no bound.

    `least` is the distance from a bound that is itself excluded.
    """
    low = high = None
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
