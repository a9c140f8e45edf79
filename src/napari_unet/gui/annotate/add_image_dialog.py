"""Which layers make up an image, what its axes are, and which level is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.text import times
from napari_unet.gui.annotate.axes_boxes import AxesBoxes
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.widgets import Hint, check_box, follow
from napari_unet.session.images.image_layers import check_channels
from napari_unet.session.images.layers import level_count, level_data, level_shape
from napari_unet.session.images.source_files import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_unet.session.images.image_list import ImageList

_LIST_HEIGHT = 140
READING = "Reading what the file tells of its axes …"


def needs_dialog(candidates: Sequence[Layer], chosen: Sequence[Layer]) -> bool:
    """Whether the chosen layers leave anything to ask."""
    if len(chosen) != 1:
        return bool(candidates)
    layer = chosen[0]
    plain = layer.ndim == 2 and not layer.multiscale
    return not plain or len(candidates) > 1


class AddImageDialog(QDialog):
    """Asks for layers: the channels of one image, or an image each.

    Those of `selected` are ticked at first.
    """

    chosen = Signal(object, object, int)
    """Layers of an image, axes and level; once for each image."""

    def __init__(
        self,
        images: ImageList,
        candidates: Sequence[Layer],
        selected: Sequence[Layer],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add image")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._images = images
        self._candidates = list(candidates)
        # The proposed axes, to notice whether the user changed them.
        self._proposed = ""
        # WIDGETS
        self.layers = QListWidget()
        self.layers.setToolTip("Layers to take into the project.")
        self.layers.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.layers.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.layers.setMaximumHeight(_LIST_HEIGHT)
        for layer in self._candidates:
            item = QListWidgetItem(layer.name)
            on = any(layer is one for one in selected)
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            self.layers.addItem(item)
        self.each = check_box(
            "Each is an image of its own",
            "Else the ticked layers are the channels of one image.",
            _are_apart(self._ticked()),
        )
        self.axes = AxesBoxes()
        self.level = QComboBox()
        self.level.setToolTip("Resolution to annotate and train in; the first is full.")
        self.interpretation = Hint()
        self.problem = Hint()
        self.buttons = dialog_buttons(self, "Ok", "Cancel")
        # LAYOUT
        form = QFormLayout()
        form.addRow("Layers", self.layers)
        form.addRow("", self.each)
        form.addRow("Axes", self.axes)
        form.addRow("Level", self.level)
        layout = QVBoxLayout(self)
        layout.addWidget(
            Hint(
                "Tick the channels of one image, or several images. What the file says "
                "of the axes is chosen already."
            )
        )
        layout.addLayout(form)
        layout.addWidget(self.interpretation)
        layout.addWidget(self.problem)
        layout.addWidget(self.buttons)
        self._form = form
        # CONNECTIONS
        self.layers.itemChanged.connect(self._on_layers)
        self.each.toggled.connect(self._check)
        self.axes.textChanged.connect(self._check)
        self.level.currentIndexChanged.connect(self._check)
        follow(self, images.changed, self._on_read)
        self._on_layers()

    def accept(self) -> None:
        """Emit what was chosen."""
        axes, level = self.axes.text(), self._level()
        for layers in self._images_of_layers():
            # another file may tell other axes
            own = None if self._own(layers[0]) is None else axes
            last = level_count(layers[0]) - 1
            self.chosen.emit(layers, own, min(level, last))
        super().accept()

    def _images_of_layers(self) -> list[list[Layer]]:
        """Return the ticked layers of each image."""
        ticked = self._ticked()
        return [[layer] for layer in ticked] if self._apart() else [ticked]

    def _apart(self) -> bool:
        return len(self._ticked()) > 1 and self.each.isChecked()

    def _own(self, layer: Layer) -> str | None:
        """Return the axes that are chosen for a layer; None for those of its file.

        Of the first they are chosen in any case; of others if somebody chose them.
        """
        axes, first = self.axes.text(), self._ticked()[0]
        alike = layer.ndim == first.ndim and layer.rgb == first.rgb
        return axes if layer is first or (alike and axes != self._proposed) else None

    def _ticked(self) -> list[Layer]:
        return [
            layer
            for number, layer in enumerate(self._candidates)
            if self.layers.item(number).checkState() == Qt.CheckState.Checked
        ]

    def _level(self) -> int:
        return max(int(self.level.currentIndex()), 0)

    def _on_layers(self, _: object = None) -> None:
        ticked = self._ticked()
        if len(ticked) > 1 and not self.each.isVisibleTo(self):
            self.each.setChecked(_are_apart(ticked))
        self._form.setRowVisible(self.each, len(ticked) > 1)
        self.level.clear()
        first = ticked[0] if ticked else None
        if first is not None:
            for number in range(level_count(first)):
                shape = level_data(first, number).shape
                self.level.addItem(f"{number}: {times(shape)}")
        self.axes.set_shape(() if first is None else level_data(first, 0).shape)
        self._propose(first)
        self._form.setRowVisible(self.level, self.level.count() > 1)
        self._check()

    def _propose(self, layer: Layer | None) -> None:
        """Propose the axes of the layer or its file."""
        self._proposed = ""
        if layer is not None:
            try:
                found = self._images.interpret(layer)
                self._proposed = "" if found is None else found.axes
            except ValueError:
                self._proposed = ""
        self.axes.setText(self._proposed)

    def _on_read(self) -> None:
        """A file may have been read: its axes are shown unless others were typed."""
        if self.axes.text() == self._proposed:
            ticked = self._ticked()
            self._propose(ticked[0] if ticked else None)
        self._check()

    def _check(self, _: object = None) -> None:
        """Show where axes and pixel size come from, and what does not fit."""
        ticked, axes, level = self._ticked(), self.axes.text(), self._level()
        sentence, words, doubtful = "", READING if ticked else "", False
        try:
            own = None if axes == self._proposed else axes
            found = self._images.interpret(ticked[0], own, level) if ticked else None
            if found is not None or axes:
                check_channels(ticked[:1] if self._apart() else ticked, axes, level)
            for other in ticked[1:] if self._apart() else ():
                if self._images.interpret(other, self._own(other)) is None:
                    found = None  # its file is still being read
            if found is not None:
                words = "\n".join((found.summary, *found.notes)).strip()
                doubtful = found.doubtful
        except ValueError as error:
            sentence, words = str(error), ""
        self.interpretation.setText(words, "warning" if doubtful else "info")
        self.problem.setText(sentence, "warning")
        ok = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        ok.setEnabled(bool(ticked) and not sentence and words != READING)


def _are_apart(layers: Sequence[Layer]) -> bool:
    """Whether layers look like images of their own: of several files, or shapes."""
    shapes = {level_shape(layer) for layer in layers}
    return len(shapes) > 1 or len({path_of(layer) for layer in layers}) > 1
