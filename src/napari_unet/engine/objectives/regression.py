"""To turn images into others, by examples of both: staining, sharpening, denoising."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.geometry.boxes import shape_of, within
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.metrics.restoration import pearson, psnr, ssim
from napari_unet.core.model import ImageScore
from napari_unet.core.training.image_pairs import (
    check_alignment,
    image_example,
    target_statistics,
    with_scale,
)
from napari_unet.engine.inference.tile_run import TileRun
from napari_unet.engine.objectives.objective import Objective
from napari_unet.engine.training.image_sampling import ImageSampler
from napari_unet.engine.training.losses import image_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import AnyScore, ModelCard
    from napari_unet.core.training.training_set import Example, HeldOut, TrainingSet
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.image_sampling import ImageBatch
    from napari_unet.engine.training.losses import Places

# dB
_MOST = 200.0


class RegressionObjective(Objective):
    """Values of pixels in one or more channels, on the scale of all targets."""

    draws = ImageSampler
    names = ("the target",)

    def __init__(self, settings: Training) -> None:
        super().__init__(settings)
        self._outputs = ImageOutputs()

    def example(
        self, field: Field, known: Field, normalisation: Normalisation
    ) -> Example | None:
        """As `Objective.example`, of a field of a target."""
        example = image_example(field, known, self.scale(field, normalisation))
        return example if (example.classes != IGNORED).any() else None

    def ready(
        self, pairs: Sequence[Pair], examples: Sequence[Example]
    ) -> Sequence[Example]:
        """As `Objective.ready`."""
        self.notes = check_alignment(pairs)
        self._outputs = target_statistics(examples)
        return [with_scale(example, self._outputs) for example in examples]

    @property
    def outputs(self) -> int:
        """As `Objective.outputs`: the channels of the targets."""
        return len(self._outputs.mean)

    def of_card(self, ndim: int, start: ModelCard | None) -> Mapping[str, Any]:
        """As `Objective.of_card`."""
        return {"classes": (), "outputs": self._outputs}

    def learn(self, training_set: TrainingSet, device: torch.device) -> None:
        """As `Objective.learn`: nothing is weighed, all pixels count alike."""

    def loss(
        self, scores: Sequence[Tensor], places: Places, batch: ImageBatch
    ) -> Tensor:
        """As `Objective.loss`."""
        return image_loss(
            scores,
            places,
            batch.target,
            batch.weight,
            self.settings.loss,
            self.team,
        )

    def validate(
        self, network: Network, held_out: Sequence[HeldOut]
    ) -> Iterator[AnyScore | None]:
        """As `Objective.validate`; pixels of which nothing is known do not count."""
        parts = []
        for part in held_out:
            example, box = part.example, part.box
            made = np.zeros((network.geometry.classes, *shape_of(box)), np.float32)
            run = TileRun(network, example.field, example.scale, region=box)
            for tile, values in run:
                made[(slice(None), *within(tile.target, box))] = values
                yield None
            known = example.classes[box] != IGNORED
            parts.append(_Part(made, example.wanted.field.read(box), known))
        yield _score(parts, self._outputs.sd)


class _Part(NamedTuple):
    """A held-out part: what is made of it, what it should be, where that is known."""

    made: NDArray[Any]  # (channels, [z,] y, x)
    truth: NDArray[Any]
    known: NDArray[np.bool_]  # ([z,] y, x)


def _score(parts: Sequence[_Part], sd: Sequence[float]) -> ImageScore:
    """Return the mean over the channels of how near the parts are."""
    rows = []
    for channel, deviation in enumerate(sd):
        made = [p.made[channel][p.known] for p in parts]
        truth = [p.truth[channel][p.known] for p in parts]
        whole = [p for p in parts if p.known.all()]
        planes = [[p[n][channel] for p in whole] for n in (0, 1)]
        squares = sum(
            float(np.square(m.astype(float) - t).sum())
            for m, t in zip(made, truth, strict=True)
        )
        pixels = sum(map(len, truth))
        rows.append(
            (
                squares / pixels / deviation**2,
                # of what is equal, or the same everywhere, there is no number
                float(np.clip(psnr(made, truth), -_MOST, _MOST)),
                ssim(*planes) if whole else None,
                pearson(made, truth),
            )
        )
    loss, decibels, similar, correlation = zip(*rows, strict=True)
    return ImageScore(
        loss=float(np.mean(loss)),
        psnr=float(np.mean(decibels)),
        ssim=None if None in similar else float(np.mean(similar)),
        pearson=float(np.mean(correlation)),
        pixels=int(sum(p.known.sum() for p in parts)),
    )
