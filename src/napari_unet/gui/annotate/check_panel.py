"""The data check: a table of what is annotated, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.annotation.data_check import BACKGROUND_NAME
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.widgets import (
    SPACING,
    ButtonRow,
    Hint,
    allow,
    button,
    column,
    follow,
    remove_widgets,
)
from napari_unet.session.annotating.data_check import RING_WIDTH, DataCheck

if TYPE_CHECKING:
    from napari_unet.core.annotation.data_check import CheckReport, Finding, Severity
    from napari_unet.gui.widgets import Level
    from napari_unet.session.workspace import Workspace

# After the last edit.
_PAUSE_MS = 1000
_MOST_FINDINGS = 20
_TABLE_ROWS = 6
_COLUMNS = ("Where", "Class", "Cells", "Pixels")
# How each severity looks, and how it is summed up.
_SIGNS = {"error": "✖", "warning": "⚠", "hint": "ℹ"}
_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "hint": "info"}
_WORDS: dict[Severity, str] = {
    "error": "to repair",
    "warning": "to look at",
    "hint": "to know",
}
_REMEDIES = {
    "ring": f"Paint background around each cell, {RING_WIDTH:g} pixels wide.",
    "split": "Give each piece an id of its own.",
    "remove-specks": "Take back what was painted by accident.",
    "new-annotation": "Make the layer to paint in.",
}


class CheckPanel(QWidget):
    """Checks the annotation a second after each edit, while it is on screen."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._check = DataCheck(workspace.session)
        self._shown: CheckReport | None = None
        # WIDGETS
        self.button = button(
            "Check now", "Count what is annotated, and look for mistakes."
        )
        self.summary = Hint("Not checked yet.")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setTabKeyNavigation(False)
        self.table.setToolTip("Cells and pixels of each class in each slice.")
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        _narrow(self.table)
        # LAYOUT
        self._findings = QVBoxLayout()
        self._findings.setSpacing(SPACING)
        column(
            self,
            ButtonRow(self.button),
            self.summary,
            self._findings,
            self.table,
            inner=True,
        )
        # CONNECTIONS
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._run)
        self.button.clicked.connect(self._run)
        follow(self, self._check.changed, self._show)
        follow(self, workspace.annotating.edited, self._on_edited)
        follow(self, workspace.store.replaced, self._on_edited)
        follow(self, workspace.store.changed, self._on_edited)
        self.destroyed.connect(self._check.close)
        self._show()

    def start(self, shown: bool = True) -> None:
        """Check soon, if the panel came on screen for the first time."""
        if shown and self._check.report is None:
            self._timer.start(0)

    def _on_edited(self, *_: object) -> None:
        if self.isVisible():
            self._timer.start()

    def _run(self) -> None:
        with report_errors(self._workspace):
            self._check.check()

    def _show(self) -> None:
        report, running = self._check.report, self._check.running
        allow(self.button, not running, "The check is under way.")
        if report is None:
            self.summary.setText("Checking…" if running else "Not checked yet.")
        elif report is self._shown:
            return
        self._shown = report
        remove_widgets(self._findings)
        self.table.setVisible(report is not None and bool(report.counts))
        if report is None:
            return
        self.summary.setText(_sentence(report))
        for finding in report.findings[:_MOST_FINDINGS]:
            self._findings.addWidget(self._row(finding))
        self._fill(report)

    def _row(self, finding: Finding) -> QWidget:
        """Return a finding with its buttons."""
        box = QWidget()
        hint = Hint(
            f"{_SIGNS[finding.severity]} {finding.sentence}", _LEVELS[finding.severity]
        )
        hint.setToolTip(finding.severity)
        go = button("Go to", "Show the place.")
        buttons, actions = [go], [self._check.go_to]
        if finding.fix is not None:
            buttons.append(button("Fix", _REMEDIES[finding.fix]))
            actions.append(self._check.fix)
        for one, act in zip(buttons, actions, strict=True):
            one.clicked.connect(reporting(self._workspace, partial(act, finding)))
        column(box, hint, ButtonRow(*buttons), inner=True).setSpacing(2)
        return box

    def _fill(self, report: CheckReport) -> None:
        counts = [
            count
            for count in report.counts
            if count.pixels or count.class_name == BACKGROUND_NAME
        ]
        several = len({count.image for count in counts}) > 1
        self.table.setRowCount(len(counts))
        for line, count in enumerate(counts):
            parts = [self._check.name_of(count.image)] if several else []
            parts += [f"time {count.t}"] if any(c.t for c in counts) else []
            parts += [f"slice {count.z}"] if any(c.z for c in counts) else []
            texts = (
                " ".join(parts) or "image",
                count.class_name,
                str(count.cells) if count.cells else "",
                f"{count.pixels:,}",
            )
            for number, text in enumerate(texts):
                self.table.setItem(line, number, QTableWidgetItem(text))
        rows = min(len(counts), _TABLE_ROWS)
        header = self.table.horizontalHeader().sizeHint().height()
        each = self.table.verticalHeader().defaultSectionSize()
        self.table.setFixedHeight(header + rows * each + 4)


def _sentence(report: CheckReport) -> str:
    """Say in a sentence what was found."""
    if not report.findings:
        return "Nothing is wrong with what is annotated."
    numbers = Counter(finding.severity for finding in report.findings)
    found = [f"{numbers[s]} {word}" for s, word in _WORDS.items() if numbers[s]]
    return f"Found: {', '.join(found)}."


def _narrow(table: QTableWidget) -> None:
    """Let the columns share the available width."""
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    header.setMinimumSectionSize(24)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.setMinimumWidth(0)
