"""A form for any settings: labels, bounds, units and help come from the model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_unet.core.settings import Settings, explain
from napari_unet.gui.fields import Field, label_of, make_field
from napari_unet.gui.widgets import SPACING, Fold, Hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

S = TypeVar("S", bound=Settings)


class SettingsForm(QWidget, Generic[S]):
    """Edits one settings object.

    Fields that no widget is known for keep their value. Where an edit makes the whole
    invalid, the reason stands under the fields and the last valid value holds until
    further edits make it valid again.

    Parameters
    ----------
    model_class : type of Settings
        Must have a default for each field.
    fields : sequence of str, optional
        Fields to show, in this order; all by default.
    sliders : mapping of str to tuple of two floats, optional
        Usual range of fields that get a slider beside the box. Shares, which go from 0
        to 1, have one anyway.

    Raises
    ------
    ValueError
        If a field is not one of the model's.
    """

    valueChanged = Signal(object)

    def __init__(
        self,
        model_class: type[S],
        fields: Sequence[str] | None = None,
        parent: QWidget | None = None,
        *,
        sliders: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__(parent)
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
        self._fields: dict[str, Field] = {}
        # WIDGETS
        self.problem = Hint(level="error")
        # LAYOUT
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACING)
        self._grid.setVerticalSpacing(SPACING)
        self._grid.setColumnStretch(0, 1)
        for name in fields or known:
            self._add(name, known[name], (sliders or {}).get(name))
        self._grid.addWidget(self.problem, self._grid.rowCount(), 0, 1, 2)
        self._fill()

    def value(self) -> S:
        """Return the settings; what is being typed counts once it is confirmed."""
        return self._value

    def setValue(self, value: S) -> None:
        """Show other settings; tells of them if they differ.

        Raises
        ------
        TypeError
            If they are of another class.
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
        return self._fields[name].widget

    def set_shown(self, name: str, shown: bool) -> None:
        """Show or hide the row of a field."""
        for part in self._fields[name].row:
            part.setVisible(shown)

    def _add(
        self, name: str, info: FieldInfo, usual: tuple[float, float] | None
    ) -> None:
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            field: Field | None = _group(name, info, kind)
        else:
            field = make_field(name, info, usual)
        if field is None:
            return
        self._fields[name] = field
        line = self._grid.rowCount()
        if len(field.row) == 1:
            self._grid.addWidget(field.row[0], line, 0, 1, 2)
        else:
            self._grid.addWidget(field.row[0], line, 0)
            self._grid.addWidget(field.row[1], line, 1)
        for extra in field.row[2:]:
            self._grid.addWidget(extra, line + 1, 0, 1, 2)
        field.connect(partial(self._on_edited, name))

    def _fill(self) -> None:
        self._filling = True
        for name, field in self._fields.items():
            field.show(getattr(self._value, name))
        self._filling = False
        self.problem.tell("")

    def _on_edited(self, name: str, new: object) -> None:
        if self._filling:
            return
        self._pending[name] = new
        try:
            value = self._value.replace(**self._pending)
        except ValidationError as error:
            self.problem.tell(_sentence(error), "error")
            return
        self._pending = {}
        self.problem.tell("")
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)


def _group(name: str, info: FieldInfo, kind: type[Settings]) -> Field:
    form: SettingsForm[Any] = SettingsForm(kind)
    fold = Fold(label_of(name, info), form)
    fold.button.setToolTip(info.description or (kind.__doc__ or "").split("\n")[0])
    return Field(form, (fold,), form.valueChanged.connect, form.setValue)


def _sentence(error: ValidationError) -> str:
    told = explain(error)
    return told[:1].upper() + told[1:]
