"""Settings of the next training: start, preset, network, budget, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.training_settings import (
    AUTO,
    FIJI,
    OF_NETWORK,
    PRESETS,
    Training,
)
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.number_box import FloatBox
from napari_unet.gui.train.decision_list import DecisionList, title
from napari_unet.gui.train.network_box import NetworkBox
from napari_unet.gui.widgets import (
    SPACING,
    Fold,
    Hint,
    allow,
    blocked,
    check_box,
    combo_box,
    follow,
    label_of,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_unet.session.workspace import Workspace

_ABOVE = (
    *("preset", "network", "ndim", "steps", "minutes", "try_both", "by_hand"),
    "decisions",
)
# Of networks that make images.
_OTHER_TASKS = ("task", "loss", "structured_noise")
_PRESETS = {
    "quick": "A small network: a good mask within minutes, also without a GPU.",
    "accurate": "A wider and deeper network: better masks after an hour or more.",
    "paper": "The full network of the paper (2015), trained as there: a GPU and hours.",
    AUTO: "Chosen by what is annotated, by this computer and the time. What you "
    "change yourself stays so.",
    FIJI: "As the Fiji plugin goes on with its models: Adam, and its border weights.",
}
_START = {
    None: ("Scratch", "Begin with a network that has learnt nothing."),
    "last": ("Last run", "Go on from the model of the last training."),
}
# Where a budget in steps begins, if there was one in minutes.
_USUAL_STEPS = 2000.0
_UNITS = ("minutes", "steps")
_NO_Z = "No image of the project has a z axis."
_GOES_ON = "The interrupted training goes on as it began: start over to change this."
_KEPT = "Training that starts from a model keeps the network of that model."
BUSY = "It can be changed when the training has ended."
_JOINED = "Several networks are joined: set Networks to 1 to try both."
_TRIED = "Both ways are tried, and one network is kept."


class TrainingSettingsBox(QWidget):
    """Edits the recipe of the next training of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._training, self._plan = workspace.training, workspace.training.plan
        self._usual = {"minutes": Training().minutes, "steps": _USUAL_STEPS}
        self.start = combo_box("What the network knows before it learns from you.")
        self.preset = combo_box(
            "Size of the network and how it is trained.",
            *((name.capitalize(), name) for name in PRESETS),
            ("Automatic", AUTO),
        )
        self.preset.setPlaceholderText("Fiji plugin")
        self.explanation = Hint()
        self.decisions = DecisionList()
        self.why = Fold("What was chosen, and why", self.decisions)
        self.why.button.setChecked(True)
        self.both = check_box(
            "Try both, keep the better",
            "Train for slices and for volumes, and for images as they are and of "
            "another size, in the same time; held-out cells decide.",
        )
        self.network = NetworkBox()
        self.use = Hint()
        self.images = combo_box(
            "Slices need less annotation and are much faster.",
            ("Slices (2-D)", 2),
            ("Volume (3-D)", 3),
        )
        self.budget = FloatBox(0.001, None)
        self.budget.setToolTip("How long to train. Stop ends it sooner.")
        self.unit = combo_box(
            "Minutes of computing, or steps of the optimiser.",
            *((unit, unit) for unit in _UNITS),
        )
        left_out = {*_ABOVE, *_OTHER_TASKS}
        names = [name for name in Training.model_fields if name not in left_out]
        self.form: SettingsForm[Training] = SettingsForm(Training, names)
        self.advanced = Fold("Advanced", self.form)
        self._lay_out()
        self._connect()
        self.show_settings()
        self.show_start()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACING)
        grid.setColumnStretch(1, 1)
        for number, text, box in (
            (0, "Start from", self.start),
            (1, "Preset", self.preset),
            (3, "Images", self.images),
            (4, "Network", self.network),
        ):
            grid.addWidget(label_of(box, text), number, 0)
            grid.addWidget(box, number, 1, 1, 2)
        grid.addWidget(self.explanation, 2, 1, 1, 2)
        grid.addWidget(self.use, 5, 1, 1, 2)
        grid.addWidget(label_of(self.budget, "Train for"), 6, 0)
        grid.addWidget(self.budget, 6, 1)
        grid.addWidget(self.unit, 6, 2)
        for number, part in enumerate((self.both, self.why, self.advanced), start=7):
            grid.addWidget(part, number, 0, 1, 3)

    def _connect(self) -> None:
        workspace = self._workspace
        self.start.activated.connect(self._on_start)
        self.preset.activated.connect(self._on_preset)
        self.images.activated.connect(self._on_images)
        self.network.activated.connect(self._on_network)
        self.network.opened.connect(self._training.offers.survey)
        self.budget.valueChanged.connect(self._on_budget)
        self.unit.activated.connect(self._on_unit)
        self.both.toggled.connect(self._on_both)
        self.form.valueChanged.connect(self._on_form)
        follow(self, workspace.store.changed, self.show_settings)
        follow(self, workspace.models.changed, self.show_start)
        follow(self, self._training.offers.changed, self.show_networks)

    def show_settings(self, _: object = None) -> None:
        """Show the settings of the project."""
        settings = self._plan.next_settings
        steps = settings.steps > 0
        self._shown = settings
        self._usual[_UNITS[steps]] = settings.steps if steps else settings.minutes
        boxes = (self.preset, self.images, self.budget, self.unit, self.both)
        with blocked(*boxes, self.form):
            self.preset.setCurrentIndex(self.preset.findData(settings.preset))
            self.images.setCurrentIndex(self.images.findData(settings.ndim))
            self.unit.setCurrentIndex(int(steps))
            self.budget.setDecimals(0 if steps else 3)
            self.budget.setValue(settings.steps if steps else settings.minutes)
            self.both.setChecked(settings.try_both)
            self.form.setValue(settings)
        self.both.setVisible(settings.preset == AUTO)
        self.explanation.setText(_PRESETS.get(settings.preset, ""))
        # volumes are offered only where an image has slices
        has_z = any("z" in i.axes for i in self._workspace.store.project.images)
        model: Any = self.images.model()
        model.item(1).setEnabled(has_z or self._plan.settings.ndim == 3)
        self.images.setItemData(1, "" if has_z else _NO_Z, Qt.ItemDataRole.ToolTipRole)
        self.show_networks()
        if self.start.currentData() != self._plan.start_from:
            self.show_start()

    def show_networks(self) -> None:
        """List the networks; say what the chosen one is for, or why it cannot be."""
        chosen = self._plan.next_settings.network
        offers = self._training.offers.offers()
        self.network.show_offers(offers, chosen)
        (offer,) = (o for o in offers if o.name == chosen)
        cost = f" {offer.cost}." if offer.cost else ""
        self.use.setText(f"{offer.problem or offer.use}{cost}")

    def show_start(self) -> None:
        """List what training can start from."""
        chosen = self._plan.start_from
        with blocked(self.start):
            self.start.clear()
            for data, (text, help_) in _START.items():
                self._offer(text, data, help_)
            for entry in self._workspace.models.entries:
                self._offer(entry.path.stem, str(entry.path), str(entry.path))
            index = self.start.findData(chosen)
            if index < 0:
                index = self._offer(f"{chosen} (not found)", chosen, str(chosen))
            self.start.setCurrentIndex(index)

    def show_lock(self) -> None:
        """Disable settings that have no effect on what Train does."""
        goes_on = self._plan.goes_on
        locked = goes_on or self._training.state != "idle"
        if self._shown != self._plan.next_settings:
            self.show_settings()
        self._show_decisions()
        # the images that are ticked may have other channels
        self.show_networks()
        boxes = (self.start, self.preset, self.images, self.budget, self.unit)
        for box in (*boxes, self.both, self.form):
            allow(box, not locked, _GOES_ON if goes_on else BUSY)
        asked = self._plan.settings
        if asked.folds > 1 and not locked:
            allow(self.both, False, _JOINED)
        self.form.allow("folds", not asked.try_both, _TRIED)
        kept = not locked and self._plan.network_of_start is not None
        why = _KEPT if kept else _GOES_ON if goes_on else BUSY
        allow(self.network, not (locked or kept), why)
        self._show_settled(_KEPT if kept else "")

    def showEvent(self, event: QShowEvent | None) -> None:
        """Plan the automatic settings, now that they are shown."""
        super().showEvent(event)
        self._plan.ask_for_plan()

    def _show_decisions(self) -> None:
        """Say why settings are as they are, if they were planned."""
        settings = self._plan.next_settings
        self.why.setVisible(settings.preset == AUTO)
        sentences = []
        if self._training.automatic.planning:
            sentences.append("Being chosen …")
        elif self._plan.needs_planning and not self._plan.goes_on:
            again = " anew" if settings.decisions else ""
            sentences.append(f"Chosen{again} when Train is pressed.")
        if settings.by_hand:
            names = ", ".join(title(name) for name in settings.by_hand)
            sentences.append(f"As you chose it: {names}. Choose Automatic to undo.")
        self.decisions.show_decisions(settings.decisions, " ".join(sentences))

    def _show_settled(self, kept: str) -> None:
        """Disable settings that the network fixes."""
        settings = self._plan.next_settings
        entry = NETWORKS[settings.network]
        settled = entry.settled(settings.encoder)
        for name in OF_NETWORK:
            if name not in _ABOVE:
                value = settled.get(name)
                # 0, not 0.0
                text = f"{value:g}" if isinstance(value, float) else value
                why = kept or f"{entry.title} leaves no choice: {text}."
                self.form.allow(name, not kept and name not in settled, why)

    def _offer(self, text: str, data: str | None, tooltip: str) -> int:
        self.start.addItem(text, data)
        index = self.start.count() - 1
        self.start.setItemData(index, tooltip, Qt.ItemDataRole.ToolTipRole)
        return int(index)

    def _on_start(self, index: int) -> None:
        self._plan.set_start(self.start.itemData(index))
        self._plan.ask_for_plan()

    def _on_preset(self, index: int) -> None:
        preset, before = self.preset.itemData(index), self._plan.settings
        if preset == AUTO:
            budget = {"steps": before.steps, "minutes": before.minutes}
            chosen = Training.automatic().replace(**budget)
        else:
            chosen = PRESETS[preset](before.ndim)
        self._set(chosen.with_network(before.network))

    def _on_images(self, index: int) -> None:
        """Take the preset's settings for slices or volumes, and keep the budget."""
        before, ndim = self._plan.settings, self.images.itemData(index)
        if before.preset == AUTO:
            preset = Training.automatic(ndim=ndim)
        else:
            preset = PRESETS.get(before.preset, Training.quick)(ndim)
        self._set(
            preset.with_network(before.network).replace(
                steps=before.steps, minutes=before.minutes
            )
        )

    def _on_network(self, index: int) -> None:
        name = self.network.itemData(index)
        self._set(self._plan.settings.with_network(name))

    def _on_budget(self, value: float) -> None:
        unit = self.unit.currentData()
        self._usual[unit] = value
        self._set_budget(unit, value)

    def _on_unit(self, index: int) -> None:
        unit = self.unit.itemData(index)
        self._set_budget(unit, self._usual[unit])

    def _set_budget(self, unit: str, value: float) -> None:
        in_steps = unit == "steps"
        settings = self._plan.settings.replace(
            steps=max(round(value), 1) if in_steps else 0,
            minutes=0.0 if in_steps else value,
        )
        self._set(settings)

    def _on_both(self, checked: bool) -> None:
        self._set(self._plan.settings.chosen(try_both=checked))

    def _on_form(self, value: Training) -> None:
        if value.preset == AUTO:
            changed = {
                name: getattr(value, name)
                for name in Training.model_fields
                if getattr(value, name) != getattr(self._shown, name)
            }
            value = self._plan.settings.chosen(**changed)
        if value.encoder != self._plan.settings.encoder:
            value = value.with_network(value.network, value.encoder)
        self._set(value)

    def _set(self, settings: Training) -> None:
        self._plan.set(training=settings)
        self._plan.ask_for_plan()
