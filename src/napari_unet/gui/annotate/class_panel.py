"""The classes: which one is painted, its colour, name, kind and key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QRadioButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.text import counted
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.widgets import (
    ColourButton,
    allow,
    blocked,
    button,
    column,
    follow,
    guard_wheel,
    leave_letters,
    row,
)
from napari_unet.session.annotating.shortcuts import key_of

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.io.project_record import ProjectClass
    from napari_unet.session.workspace import Workspace

_KINDS: tuple[ClassKind, ...] = ("cells", "regions")
_KIND_HELP = (
    "Cells: objects to be kept apart, each with its own id. "
    "Regions: areas without objects, such as tissue."
)


class ClassPanel(QWidget):
    """A row for each class."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace, self._annotating = workspace, workspace.annotating
        self.rows: list[ClassRow] = []
        # WIDGETS
        self._group = QButtonGroup(self)
        self.add = button("+ Add class", "Add another kind of object to tell apart.")
        # LAYOUT
        self._grid = QVBoxLayout()
        self._grid.setSpacing(2)
        buttons = row(self.add)
        buttons.addStretch(1)
        column(self, self._grid, buttons, inner=True)
        # CONNECTIONS
        self.add.clicked.connect(self._on_add)
        follow(self, self._annotating.changed, self.refresh)
        follow(self, self._annotating.brush.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the classes as they are now."""
        classes = self._workspace.store.project.classes
        if len(classes) != len(self.rows):
            for old in self.rows:
                self._group.removeButton(old.radio)
                self._grid.removeWidget(old)
                old.hide()
                old.deleteLater()
            numbers = range(1, len(classes) + 1)
            self.rows = [ClassRow(self._workspace, number) for number in numbers]
            for new in self.rows:
                self._group.addButton(new.radio)
                self._grid.addWidget(new)
        active = self._annotating.brush.active_class
        for number, one in enumerate(self.rows, start=1):
            one.show_class(classes[number - 1], number == active)
            allow(one.remove, len(classes) > 1, "There must be a class.")

    def _on_add(self) -> None:
        names = {c.name for c in self._workspace.store.project.classes}
        number = len(names) + 1
        while f"class {number}" in names:
            number += 1
        with report_errors(self._workspace):
            self._annotating.classes.add(f"class {number}")
            self._annotating.brush.set_class(len(self.rows))
        self.rows[-1].name.setFocus()
        self.rows[-1].name.selectAll()


class ClassRow(QWidget):
    """One class, by its number from 1."""

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__()
        self._workspace, self._number = workspace, number
        self._classes = workspace.annotating.classes
        # WIDGETS
        key = key_of("brush.set_class", number)
        hint = f" ({key})" if key else ""
        self.radio = QRadioButton()
        self.radio.setToolTip(f"Paint this class{hint}.")
        self.colour = ColourButton()
        self.colour.setToolTip("Colour of this class; cells are shades of it.")
        self.name = QLineEdit()
        self.name.setMinimumWidth(60)
        self.name.setToolTip(f"Name of the class{hint}.")
        self.kind = QComboBox()
        self.kind.addItems(list(_KINDS))
        self.kind.setToolTip(_KIND_HELP)
        self.kind.setAccessibleName("Kind of the class")
        guard_wheel(self.kind)
        leave_letters(self.kind)
        self.remove = QToolButton()
        self.remove.setText("×")
        self.remove.setToolTip("Remove this class.")
        # LAYOUT
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.radio, self.colour, self.name, self.kind, self.remove):
            layout.addWidget(part, 1 if part is self.name else 0)
        # CONNECTIONS
        paint = partial(workspace.annotating.brush.set_class, number)
        self.radio.clicked.connect(reporting(workspace, paint))
        self.colour.colourChanged.connect(partial(self._classes.recolour, number))
        self.name.editingFinished.connect(self._on_name)
        self.kind.currentTextChanged.connect(partial(self._classes.set_kind, number))
        self.remove.clicked.connect(self._on_remove)

    def show_class(self, info: ProjectClass, active: bool) -> None:
        """Show a class."""
        with blocked(self.radio, self.colour, self.name, self.kind):
            self.radio.setChecked(active)
            self.colour.setColour(info.colour)
            edited = self.name.hasFocus() and self.name.isModified()
            # setting the same text again would lose cursor and selection
            if not edited and self.name.text() != info.name:
                self.name.setText(info.name)
            self.kind.setCurrentIndex(_KINDS.index(info.kind))

    def _on_name(self) -> None:
        self.name.setModified(False)
        if self._number > len(self._names()):
            # the class was removed while its name had the focus
            return
        with report_errors(self._workspace):
            self._classes.rename(self._number, self.name.text())
        self.name.setText(self._names()[self._number - 1])

    def _on_remove(self) -> None:
        """Remove the class, after asking what becomes of its cells."""
        count = self._classes.count(self._number)
        if not count:
            self._remove(None)
            return
        others = self._names()
        name = others.pop(self._number - 1)
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Remove class")
        what = counted(count, "object is", "objects are")
        dialog.setLabelText(f"{what} {name}. To become:")
        dialog.setComboBoxItems(others)
        dialog.textValueSelected.connect(self._remove)
        dialog.open()

    def _remove(self, into: str | None) -> None:
        """Remove the class; its cells become those of the class of this name."""
        number = None if into is None else self._names().index(into) + 1
        with report_errors(self._workspace):
            self._classes.remove(self._number, number)

    def _names(self) -> list[str]:
        return [info.name for info in self._workspace.store.project.classes]
