"""Several recipes trained on the same images; held-out cells decide which is kept."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.instances import segment_image
from napari_unet.core.cells.labelmap import mostly_within
from napari_unet.core.cells.segmentation_tuning import (
    CELLS_WON,
    GAIN,
    OVERLAPS,
    Judged,
)
from napari_unet.core.events import ValidationTile
from napari_unet.core.geometry.boxes import shape_of, within
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.model import Model
from napari_unet.core.network.blended import reach_of
from napari_unet.core.settings import Prediction
from napari_unet.core.text import capitalised, counted
from napari_unet.core.training.common_parts import Part
from napari_unet.core.training.decision import Decision
from napari_unet.core.training.fingerprint import Observer
from napari_unet.core.training.training_set import hold_out
from napari_unet.engine.inference.tile_run import TileRun
from napari_unet.engine.network.network import prepare
from napari_unet.engine.objectives.catalogue import objective_of
from napari_unet.engine.training.planning import candidates_of
from napari_unet.engine.training.validation import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.fingerprint import Fingerprint
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair


class Contest:
    """Recipes to try, and the held-out parts that decide.

    `candidates` are known when it is prepared, the planner's own choice first; all of
    them hold out the `parts`. `refused` says why some could not be trained, by their
    names.
    """

    def __init__(
        self,
        pairs: Callable[[int], Iterable[Pair]],
        settings: Training,
        start: ModelCard | None,
        device: str,
    ) -> None:
        self.candidates: tuple[Training, ...] = ()
        self.parts: tuple[Part, ...] = ()
        self.refused: dict[str, str] = {}
        self._pairs, self._settings = pairs, settings
        self._start, self._device = start, device
        self._known: list[Annotation] = []

    def prepare(self) -> Iterator[None]:
        """Find the candidates and the held-out parts, field by field.

        A ValueError says that nothing can be held out.
        """
        settings = self._settings
        observer = Observer()
        for field, known in self._pairs(settings.ndim):
            observer.add(field, known)
            yield
        found = observer.fingerprint()
        self.candidates = candidates_of(found, settings, self._start, self._device)
        if len(self.candidates) == 1:
            nothing = _nothing_to_try(found.diameter, found.slices)
            decisions = (*self.candidates[0].decisions, nothing)
            self.candidates = (self.candidates[0].replace(decisions=decisions),)
            return
        # volumes cover slices, not the other way
        ndim = max(one.ndim for one in self.candidates)
        objective = objective_of(settings)
        pairs, examples = [], []
        for field, known in self._pairs(ndim):
            example = objective.example(field, known, "structure")
            if example is not None:
                pairs.append((field, known))
                examples.append(example)
            yield
        objective.ready(pairs, examples)
        by_example = {id(e): k for e, (_, k) in zip(examples, pairs, strict=True)}
        parted = hold_out(
            examples,
            settings.validation,
            self._reach(found, objective.outputs, ndim),
            objective.outputs,
            np.random.default_rng([settings.seed, 5]),
        )
        if not parted.held_out:
            raise ValueError(
                "to try what is better, something must be held out: "
                f"{parted.validation}."
            )
        for part in parted.held_out:
            self.parts += (Part(part.example.field, part.box),)
            self._known.append(by_example[id(part.example)].crop(part.box))

    def _reach(self, found: Fingerprint, classes: int, ndim: int) -> list[int]:
        """Return how far the networks see at the most, in pixels of the images."""
        reach = [
            [
                ceil(n / one.scale)
                for n in reach_of(
                    one.architecture(found.channels, classes, found.slices)
                )
            ]
            for one in self.candidates
            if one.ndim == ndim
        ]
        return [max(each) for each in zip(*reach, strict=True)]

    def best(self, models: Sequence[Model]) -> Generator[Event, None, Model]:
        """Return the best of the models, those of the first candidates, and say why."""
        figures = []
        for model in models:
            figure = yield from self._figure(model)
            figures.append(figure)
        cells = figures[0][1]
        # a smaller difference is chance: then the planner's choice is kept
        gain = max(GAIN, CELLS_WON / cells) if cells else GAIN
        best = max(range(len(figures)), key=lambda number: figures[number][0])
        if figures[best][0] <= figures[0][0] + gain:
            best = 0
        names = [name_of(model.card.training) for model in models]
        words = [
            f"{name} {score:.2f}"
            for name, (score, _) in zip(names, figures, strict=True)
        ]
        by = "held-out pixels (mean IoU)"
        if cells:
            by = f"{counted(cells, 'held-out cell')} (average precision)"
        reason = f"{names[best]} are kept by {by}: {', '.join(words)}"
        if best == 0 and len(figures) > 1:
            reason += f"; more by less than {gain:.2g} would be chance"
        for name in map(name_of, self.candidates):
            if name not in names:
                why = self.refused.get(name, "it was finished before")
                reason += f"; {name} not tried, {why}"
        return _with_reason(models[best], f"{reason}.", self._settings)

    def _figure(self, model: Model) -> Generator[Event, None, tuple[float, int]]:
        """Return the score of a model and the number of cells; 0 if it is by pixels."""
        card = model.card
        network = prepare(model, self._device, card.precision)
        tally, right, count = Tally(card.architecture.classes), 0.0, 0
        for part, known in zip(self.parts, self._known, strict=True):
            targets = known.targets()
            probabilities = yield from _predicted(network, part)
            tally.add(probabilities, targets.classes)
            if not card.cell_classes:
                continue
            settings = card.segmentation
            axes = "cyx" if part.field.ndim == 2 else "czyx"
            spacing = part.field.image.pixel_size(part.field.ndim)
            cells = segment_image(
                Image(probabilities, axes, spacing),
                card.training.ndim,
                settings,
                cell_classes=card.cell_classes,
            )
            annotated = targets.classes != IGNORED
            judged = Judged(probabilities, targets.instances, annotated, ())
            true = judged.true(settings.usual_size)
            found = mostly_within(cells, annotated)
            number = len(np.unique(true)) - 1
            # in lists: an array of three axes would be judged slice by slice
            right += number * average_precision([found], [true], OVERLAPS).mean()
            count += number
        return (right / count, count) if count else (tally.score().iou, 0)


def name_of(recipe: Training) -> str:
    """Return in what a recipe differs from the others, for people."""
    kind = "slices" if recipe.ndim == 2 else "volumes"
    return kind if recipe.scale == 1 else f"{kind} of {recipe.scale:g} times the size"


def _predicted(
    network: Network, part: Part
) -> Generator[Event, None, NDArray[np.float32]]:
    """Return the probabilities of a part."""
    own, box = part.field, part.box
    image, classes = own.image, network.geometry.classes
    probabilities = np.zeros((classes, *shape_of(box)), np.float32)
    factors = network.factors(image, Prediction())
    rule = network.normalisation
    if network.geometry.ndim == own.ndim:
        fields = [(own, box, probabilities)]
    else:
        fields = [
            (Field(image, own.t, z), box[1:], probabilities[:, z - box[0].start])
            for z in range(box[0].start, box[0].stop)
        ]
    for field, region, out in fields:
        t, z = frame_of(field, rule)
        scale = measure(image, t, rule, z)
        run = TileRun(network, field, scale, region=region, factors=factors)
        for tile, values in run:
            out[(slice(None), *within(tile.target, region))] = values
            yield ValidationTile()
    return probabilities


def _nothing_to_try(diameter: float | None, slices: int) -> Decision:
    cells = "no cells" if diameter is None else f"cells {diameter:.3g} pixels wide"
    return Decision(
        field="try_both",
        value=False,
        reason=f"With {counted(slices, 'slice')} and {cells} there is but one way.",
    )


def _with_reason(model: Model, reason: str, asked: Training) -> Model:
    """Note in a model why it is the one, and the budget of all together."""
    recipe = model.card.training
    tried = Decision(field="try_both", value=True, reason=capitalised(reason))
    budget = {name: getattr(asked, name) for name in ("seed", "steps", "minutes")}
    training = recipe.replace(**budget, decisions=(*recipe.decisions, tried))
    return Model(model.card.replace(training=training), model.weights)
