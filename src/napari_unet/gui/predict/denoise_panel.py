"""Denoises the image in view, after learning from that image or with a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QLabel, QWidget

from napari_unet.gui.number_box import FloatBox
from napari_unet.gui.progress_bar import ProgressBar
from napari_unet.gui.widgets import (
    ButtonRow,
    Elided,
    Hint,
    allow,
    blocked,
    button,
    choice_box,
    column,
    combo_box,
    follow,
    row,
)
from napari_unet.io.names import file_stem

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

_TICKS = 1000
# Enough for an image of 500 × 700 pixels on two cores.
_MINUTES = 1.5
_NOISE = {
    "none": ("In each pixel", "Noise that differs from pixel to pixel, as of photons."),
    "x": ("In rows", "Noise that is alike along x, as of a scan."),
    "y": ("In columns", "Noise that is alike along y, as of a camera."),
}
# The suffix of the chosen name decides the format.
_SAVED = ["TIFF, OME-TIFF, OME-Zarr (*.tif *.ome.tif *.zarr)"]
_LEARN = "Learn from this image"


class DenoisePanel(QWidget):
    """Makes a layer without noise; needs neither annotation nor a clean image."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace, self._denoiser = workspace, workspace.denoiser
        # WIDGETS
        self.source = combo_box(
            "What knows the noise: the image itself, or a model that makes images."
        )
        self.noise = choice_box(_NOISE, "What the noise looks like.")
        # not cut beside the minutes in a narrow dock
        self.noise.setMinimumContentsLength(8)
        self.minutes = FloatBox(0.01, 10_000)
        self.minutes.setValue(_MINUTES)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to learn; more for finer structure.")
        self.denoise = button("Denoise", "Make a layer of the image without its noise.")
        self.stop = button("Stop", "Go on with what is learnt by now, or stop.")
        self.save = button(
            "Save image…", "Write what was made of the image in view into a file."
        )
        self.progress = ProgressBar()
        self.progress.setRange(0, _TICKS)
        self.status = Elided()
        self.hint = Hint(
            "No annotation is needed: what cannot be told from the pixels around is "
            "noise. The result is a layer of its own."
        )
        # LAYOUT
        self._learning = row(QLabel("Noise"), self.noise, self.minutes, stretch=1)
        column(
            self,
            self.source,
            self._learning,
            row(self.denoise, self.stop, stretch=0),
            self.progress,
            self.status,
            ButtonRow(self.save),
            self.hint,
            inner=True,
        )
        # CONNECTIONS
        self.denoise.clicked.connect(self._on_denoise)
        self.stop.clicked.connect(self._denoiser.finish)
        self.save.clicked.connect(self._on_save)
        self.source.activated.connect(self.refresh)
        for signal in (
            self._denoiser.changed,
            workspace.models.changed,
            workspace.images.current_changed,
        ):
            follow(self, signal, self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what can be chosen, and the progress."""
        chosen = self.source.currentData()
        with blocked(self.source):
            self.source.clear()
            self.source.addItem(_LEARN, None)
            for entry in self._workspace.models.makers:
                self.source.addItem(entry.card.name, str(entry.path))
            self.source.setCurrentIndex(max(self.source.findData(chosen), 0))
        running = self._denoiser.running
        learns = self.source.currentData() is None
        for box in (self.noise, self.minutes):
            allow(box, learns and not running, "Nothing is learnt with a model.")
        allow(self.source, not running, "It runs already.")
        allow(self.denoise, not running, "It runs already.")
        allow(self.stop, running, "Nothing runs.")
        allow(self.save, bool(self._denoiser.name_made()), "Denoise this image first.")
        self.progress.setVisible(running)
        self.progress.setValue(int(_TICKS * self._denoiser.progress))
        self.status.setText(self._denoiser.status)
        self.status.setVisible(bool(self._denoiser.status))

    def _on_denoise(self) -> None:
        path = self.source.currentData()
        makers = self._workspace.models.makers
        entry = next((e for e in makers if path and e.path == Path(path)), None)
        if entry is not None:
            self._denoiser.make(entry)
        else:
            noise = self.noise.currentData()
            self._denoiser.denoise(self.minutes.value(), noise)

    def _on_save(self) -> None:
        dialog = QFileDialog(self, "Save image")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDirectory(str(self._workspace.prediction.targets.folder()))
        dialog.setNameFilters(_SAVED)
        dialog.setDefaultSuffix("tif")
        dialog.selectFile(file_stem(self._denoiser.name_made(), "image"))
        dialog.fileSelected.connect(self._denoiser.save)
        dialog.open()
