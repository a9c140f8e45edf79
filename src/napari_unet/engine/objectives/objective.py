"""What all objectives have in common: the questions a training run asks of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.network.blended import reach_of
from napari_unet.core.training.training_set import hold_out
from napari_unet.engine.training.team import ALONE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    import torch
    from torch import Tensor

    from napari_unet.core.events import Event
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Frame, GreyScale, Normalisation
    from napari_unet.core.model import AnyScore, Model, ModelCard
    from napari_unet.core.training.training_set import Example, HeldOut, TrainingSet
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.training.losses import Places
    from napari_unet.engine.training.preparation import Prepared
    from napari_unet.engine.training.sampling import Sampler
    from napari_unet.engine.training.team import Alone

    # A field, and what is known of it: an annotation, a target, or nothing more.
    Pair = tuple[Field, Any]


class Objective(ABC):
    """What one training run learns.

    It is asked in this order: for an `example` of each field, to be `ready` for all of
    them, what to `hold_out`, to `learn` from the rest, for a `sampler`; then step by
    step for the `loss`, now and then to `validate`, and at the end to `finish`.
    """

    # what draws the batches
    draws: ClassVar[type[Sampler]]
    # whether pixel sizes say something of what is learnt
    has_pixel_size = True
    # steps for which the network has perhaps learnt nothing
    doubtful_steps = 0

    def __init__(self, settings: Training) -> None:
        self.settings = settings
        # what was assumed or left out, in sentences
        self.notes: tuple[str, ...] = ()
        # whose batches it is shown a part of
        self.team: Alone = ALONE
        self._scales: dict[tuple[int, Frame], GreyScale] = {}

    def scale(self, field: Field, normalisation: Normalisation) -> GreyScale:
        """Return the scale of the frame that a field is of, measured once for all."""
        t, z = frame_of(field, normalisation)
        key = id(field.image), (t, z)
        if key not in self._scales:
            self._scales[key] = measure(field.image, t, normalisation, z, spread=True)
        return self._scales[key]

    @abstractmethod
    def example(
        self, field: Field, known: Any, normalisation: Normalisation
    ) -> Example | None:
        """Return what can be learnt of a field; None if nothing is known of it."""

    @abstractmethod
    def ready(
        self, pairs: Sequence[Pair], examples: Sequence[Example]
    ) -> Sequence[Example]:
        """See all fields before anything is learnt; return the examples as they are.

        A ValueError says that nothing can be learnt from them.
        """

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Channels that the network gives."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What is to be learnt, by the values of `Example.classes`."""

    @abstractmethod
    def of_card(self, ndim: int, start: ModelCard | None) -> Mapping[str, Any]:
        """Return what the model's card says of it, by the card's fields.

        `start` is the card of the model that the training begins with.
        """

    def hold_out(self, examples: Sequence[Example], card: ModelCard) -> TrainingSet:
        """Part the examples into those to learn from and those to judge by."""
        rng = np.random.default_rng([self.settings.seed, 2])
        reach = reach_of(card.architecture)
        share = self.settings.validation
        return hold_out(examples, share, reach, len(self.names), rng)

    @abstractmethod
    def learn(self, training_set: TrainingSet, device: torch.device) -> None:
        """Take note of what is learnt; a ValueError says that it is too little."""

    def learn_instead(self, new: Sequence[Example], old: Sequence[Example]) -> bool:
        """Take note that new examples took the place of old ones.

        Whether there is something left to learn; if not, the run goes on with the old.
        """
        return True

    def sampler(self, examples: Sequence[Example], **rest: Any) -> Sampler:
        """Return what draws the batches; the rest are arguments of `Sampler`."""
        return self.draws(examples, foreground=self.settings.foreground, **rest)

    @abstractmethod
    def loss(self, scores: Sequence[Tensor], places: Places, batch: Any) -> Tensor:
        """Return the loss of what the network gave for a batch, from fine to coarse."""

    def pixels_to_see(self, prepared: Prepared) -> int:
        """Return how many pixels `finish` will look at."""
        return 0

    def trouble(
        self, scores: Tensor, batch: Any, smoothed: float
    ) -> tuple[str, str] | None:
        """Say what is wrong with the scores of a batch, and what may help."""
        return None

    @abstractmethod
    def validate(
        self, network: Network, held_out: Sequence[HeldOut]
    ) -> Iterator[AnyScore | None]:
        """Predict the held-out parts: None after each tile, at last the score."""

    def shortcoming(
        self, network: Network, batches: Iterable[Any]
    ) -> tuple[str, str] | None:
        """Say why a model is good for nothing after all steps, and what may help."""
        return None

    def finish(
        self, model: Model, prepared: Prepared, known: Mapping[Any, Any]
    ) -> Generator[Event, None, Model]:
        """Fit the model to what it finds, and its card to what is held out.

        `known` is what is known of each field now, by `corrections.field_key`.
        """
        return model
        yield
