"""To denoise by the noisy images alone: Noise2Void (Krull, Buchholz and Jug 2019).

A pixel that the network cannot see it can only predict from its neighbours. Noise that
is independent from pixel to pixel cannot be predicted, so what is learnt is the signal.
Noise that is alike along lines needs more of them hidden (Broaddus et al. 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.training.image_pairs import image_example
from napari_unet.core.training.training_set import TrainingSet
from napari_unet.engine.objectives.objective import Objective
from napari_unet.engine.training.blind_spots import BlindSpotSampler
from napari_unet.engine.training.losses import image_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from torch import Tensor

    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import AnyScore, ModelCard
    from napari_unet.core.training.training_set import Example, HeldOut
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.image_sampling import ImageBatch
    from napari_unet.engine.training.losses import Places
    from napari_unet.engine.training.sampling import Sampler


class DenoisingObjective(Objective):
    """The image without its noise, on the image's own scale."""

    draws = BlindSpotSampler
    names = ("the image",)
    outputs = 1  # the channels of the images
    # noise is one of pixels: an image that is resampled has another
    has_pixel_size = False

    def example(
        self, field: Field, known: None, normalisation: Normalisation
    ) -> Example | None:
        """As `Objective.example`; nothing but the image is known."""
        return image_example(field, None, self.scale(field, normalisation))

    def ready(
        self, pairs: Sequence[Pair], examples: Sequence[Example]
    ) -> Sequence[Example]:
        """As `Objective.ready`."""
        if not examples:
            raise ValueError("there is no image to denoise.")
        first = examples[0].field
        self.outputs = first.image.channels
        images = {id(e.field.image): e.field.image for e in examples}.values()
        planes = sum(len(list(image.fields(first.ndim))) for image in images)
        if len(examples) < planes:
            self.notes = (
                f"{len(examples)} of {planes} planes, spread evenly, are learnt from.",
            )
        return examples

    def of_card(self, ndim: int, start: ModelCard | None) -> Mapping[str, Any]:
        """As `Objective.of_card`."""
        return {"classes": (), "outputs": ImageOutputs()}

    def hold_out(self, examples: Sequence[Example], card: ModelCard) -> TrainingSet:
        """As `Objective.hold_out`: nothing, for want of clean images."""
        words = "nothing is held out, as there is no clean image to compare with"
        return TrainingSet(tuple(examples), (), words)

    def learn(self, training_set: TrainingSet, device: torch.device) -> None:
        """As `Objective.learn`."""

    def sampler(self, examples: Sequence[Example], **rest: Any) -> Sampler:
        """As `Objective.sampler`."""
        return super().sampler(examples, line=self.settings.structured_noise, **rest)

    def loss(
        self, scores: Sequence[Tensor], places: Places, batch: ImageBatch
    ) -> Tensor:
        """As `Objective.loss`: the square, whose mean is right for noise of mean 0."""
        target, weight = batch.target, batch.weight
        return image_loss(scores, places, target, weight, "mse", self.team)

    def validate(
        self, network: Network, held_out: Sequence[HeldOut]
    ) -> Iterator[AnyScore | None]:
        """As `Objective.validate`; never asked, as nothing is held out."""
        return iter(())
