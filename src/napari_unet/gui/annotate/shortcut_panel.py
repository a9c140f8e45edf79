"""The keys of the annotation layer."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_unet.gui.widgets import SPACING, Hint
from napari_unet.session.annotating.shortcuts import CLASS_KEYS, SHORTCUTS, readable
from napari_unet.session.editing import tools

_BY_CLASS = ("brush.set_class", "label_edits.set_class_under_cursor")


class ShortcutPanel(QWidget):
    """A table of keys and what they do, made from the list that binds them."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(2 * SPACING)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for line, (keys, text) in enumerate(key_table()):
            key = QLabel(keys)
            key.setTextFormat(Qt.TextFormat.PlainText)
            what = QLabel(text)
            what.setWordWrap(True)
            for column, label in enumerate((key, what)):
                label.setToolTip(f"{keys}: {text}")
                grid.addWidget(label, line, column, Qt.AlignmentFlag.AlignTop)
        where = Hint(
            "They work in the canvas while an annotation layer is selected, those that "
            "edit also while predicted cells are."
        )
        grid.addWidget(where, grid.rowCount(), 0, 1, 2)


def key_table() -> list[tuple[str, str]]:
    """Return the keys as people write them, those of the classes in one line each."""
    rows = []
    for shortcut in SHORTCUTS:
        keys, text = readable(shortcut.keys), shortcut.text
        if shortcut.action not in _BY_CLASS:
            rows.append((keys, text))
        elif shortcut.argument == 1:
            rows.append((f"{keys} … {CLASS_KEYS}", f"{text} … {CLASS_KEYS}"))
    return [
        *rows,
        *((readable(one.keys), one.text) for one in tools.SHORTCUTS),
        *((readable(one.keys), one.text) for one in tools.OF_CELLS),
        *tools.POINTER_KEYS,
    ]
