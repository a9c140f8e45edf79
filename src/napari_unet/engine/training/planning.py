"""Settings that are to be planned: what the planner has to know, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.training.planner import Machine, plan
from napari_unet.core.training.training_settings import OF_NETWORK
from napari_unet.engine.device import choose_device, free_memory

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.fingerprint import Fingerprint
    from napari_unet.core.training.training_settings import Training


def planned(
    found: Fingerprint, settings: Training, start: ModelCard | None, device: str
) -> Training:
    """Plan what is not chosen by hand, nor by the model to start from, on a device.

    A ValueError says that training cannot begin with that model.
    """
    if start is not None:
        if problem := start.refusal_as_start(settings):
            raise ValueError(problem)
        kept = {*settings.by_hand, *OF_NETWORK, "ndim"}
        settings = settings.with_network_of(start.training).replace(
            ndim=start.architecture.ndim, by_hand=tuple(sorted(kept))
        )
    where = choose_device(device)
    return plan(found, Machine(where.type, free_memory(where)), settings)


def planned_before(card: ModelCard, settings: Training) -> Training:
    """Return the plan of the run that goes on, but for what was chosen by hand now."""
    by_hand = {name: getattr(settings, name) for name in settings.by_hand}
    every = {*card.training.by_hand, *by_hand}
    return card.training.replace(**by_hand, by_hand=tuple(sorted(every)))
