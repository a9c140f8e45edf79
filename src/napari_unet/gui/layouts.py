"""How widgets are laid out on all pages: rows, columns, folds, and their margins."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

SPACING = 6
"""Pixels between the rows of a page."""
MARGIN = 8
"""Pixels around a page."""


def row(*widgets: QWidget, stretch: int | None = None) -> QHBoxLayout:
    """Lay widgets side by side; the one at `stretch` takes the room that is left."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    for number, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if number == stretch else 0)
    return layout


def column(
    parent: QWidget, *parts: QWidget | QLayout, inner: bool = False
) -> QVBoxLayout:
    """Lay widgets and layouts one under the other in a widget, at the top.

    An inner one is a part of a page: it has no margins, and no room below.
    """
    layout = QVBoxLayout(parent)
    margin = 0 if inner else MARGIN
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(SPACING)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    if not inner:
        layout.addStretch(1)
    return layout


class ButtonRow(QWidget):
    """Widgets in a row that go on in the next line where there is no room."""

    def __init__(self, *widgets: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(SPACING)
        self._flow.setVerticalSpacing(SPACING)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        for widget in widgets:
            self.addWidget(widget)

    def addWidget(self, widget: QWidget) -> None:
        """Add a widget at the end."""
        self._flow.addWidget(widget)

    def sizeHint(self) -> QSize:
        """Return the size of one line; more lines follow from the width."""
        return self.minimumSizeHint()

    def minimumSizeHint(self) -> QSize:
        """Return the size of the largest widget.

        The layout's own is that of one widget in each line: pages would be too high.
        """
        size = QSize(0, 0)
        for number in range(self._flow.count()):
            item = self._flow.itemAt(number)
            if item is not None and not item.isEmpty():
                size = size.expandedTo(item.minimumSize())
        return size


class Fold(QWidget):
    """A title that shows or hides what is under it.

    Content may change its height at any time, wrapped sentences as well.
    """

    toggled = Signal(bool)

    def __init__(
        self,
        title: str,
        content: QWidget | None = None,
        *,
        expanded: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        # WIDGETS
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setToolTip(f"Show or hide: {title}")
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self._body = QWidget()
        # LAYOUT
        self._inner = QVBoxLayout(self._body)
        self._inner.setContentsMargins(SPACING, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.button)
        layout.addWidget(self._body)
        if content is not None:
            self.addWidget(content)
        # CONNECTIONS
        self.button.toggled.connect(self._on_toggled)
        self.button.setChecked(expanded)
        self._on_toggled(expanded)

    def addWidget(self, widget: QWidget) -> None:
        """Add a widget under the title."""
        self._inner.addWidget(widget)

    def isExpanded(self) -> bool:
        """Whether the content is shown."""
        return bool(self.button.isChecked())

    def setExpanded(self, expanded: bool) -> None:
        """Show or hide the content."""
        self.button.setChecked(expanded)

    def _on_toggled(self, expanded: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if expanded else Qt.ArrowType.RightArrow
        self.button.setArrowType(arrow)
        self._body.setVisible(expanded)
        self.toggled.emit(expanded)
