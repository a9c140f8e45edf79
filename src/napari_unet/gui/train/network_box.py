"""Chooses a network of the family; the list says what each is for and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QComboBox, QStyledItemDelegate

from napari_unet.gui.widgets import SPACING, blocked, guard_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QModelIndex
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_unet.session.training.network_offers import NetworkOffer

_LINES = Qt.ItemDataRole.UserRole + 1
# Share of the text's colour in what is grey.
_GREY = 0.7


class NetworkBox(QComboBox):
    """A box that shows a title, and a list with two lines for each network."""

    opened = Signal()

    def __init__(self) -> None:
        super().__init__()
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.setSizeAdjustPolicy(policy)
        self.setMinimumContentsLength(6)
        self.setToolTip(
            "Which network of the literature learns: what each is for, and what it "
            "costs here."
        )
        self._shown: object = None
        # kept here: the view does not keep it alive
        self._delegate = _TwoLines(self)
        self.setItemDelegate(self._delegate)
        self.setMaxVisibleItems(20)
        guard_wheel(self)

    def show_offers(self, offers: Sequence[NetworkOffer], chosen: str) -> None:
        """List networks; those that cannot be had are grey and say why."""
        if (offers, chosen) == self._shown:
            return
        self._shown = offers, chosen
        model: Any = self.model()
        with blocked(self):
            if [o.name for o in offers] != [
                self.itemData(i) for i in range(self.count())
            ]:
                self.clear()
                for offer in offers:
                    self.addItem(offer.title, offer.name)
            for row, offer in enumerate(offers):
                first = " · ".join(filter(None, (offer.title, offer.cost)))
                self.setItemData(row, f"{first}\n{offer.problem or offer.use}", _LINES)
                model.item(row).setEnabled(not offer.problem)
            self.setCurrentIndex(self.findData(chosen))
        self._fit_list()

    def showPopup(self) -> None:
        """Open the list, as wide as its lines are."""
        self.opened.emit()
        self._fit_list()
        super().showPopup()

    def _fit_list(self) -> None:
        view = self.view()
        bar = view.verticalScrollBar().sizeHint().width()
        view.setMinimumWidth(view.sizeHintForColumn(0) + bar)


def _mixed(one: QColor, other: QColor, share: float) -> QColor:
    """Return a colour between two, with a share of the first."""
    return QColor.fromRgbF(
        *(
            share * a + (1 - share) * b
            for a, b in zip(one.getRgbF()[:3], other.getRgbF()[:3], strict=True)
        )
    )


class _TwoLines(QStyledItemDelegate):
    """Draws two lines for each network in the list."""

    def initStyleOption(
        self, option: QStyleOptionViewItem | None, index: QModelIndex
    ) -> None:
        """Put the lines in place of the title."""
        super().initStyleOption(option, index)
        lines = index.data(_LINES)
        if option is None or not lines:
            return
        option.text = str(lines).replace("\n", "\u2028")
        if not index.flags() & Qt.ItemFlag.ItemIsEnabled:
            # napari's grey, a third of the text's colour, is too pale to be read
            palette, role = option.palette, QPalette.ColorRole
            ink = _mixed(palette.color(role.Text), palette.color(role.Base), _GREY)
            palette.setColor(QPalette.ColorGroup.Disabled, role.Text, ink)
            option.palette = palette

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Return the size of the lines and of some room between networks."""
        size = super().sizeHint(option, index)
        return QSize(size.width(), size.height() + SPACING)
