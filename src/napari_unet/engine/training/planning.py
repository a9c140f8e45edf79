"""Planning of settings: the inputs of the planner, and settings it must not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.training.planner import Machine, candidates, plan
from napari_unet.core.training.training_settings import OF_NETWORK, Training
from napari_unet.engine.device import choose_device, free_memory

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.fingerprint import Fingerprint


def planned(
    found: Fingerprint, settings: Training, start: ModelCard | None, device: str
) -> Training:
    """Plan the settings that neither a person nor the model to start from determines.

    Of several candidates it returns the first. A ValueError says that training cannot
    begin with that model.
    """
    if settings.try_both:
        return candidates_of(found, settings, start, device)[0]
    return plan(found, _machine(device), _asked(settings, start))


def candidates_of(
    found: Fingerprint, settings: Training, start: ModelCard | None, device: str
) -> tuple[Training, ...]:
    """Return the candidates to train, each with the whole budget in its settings.

    It is shared equally. The settings may be planned already, by `planned`.
    """
    usual = Training.automatic()
    before = {d.field: getattr(usual, d.field) for d in settings.decisions}
    asked = _asked(settings.replace(**{**before, "decisions": ()}), start)
    machine, budget = _machine(device), (asked.minutes, asked.steps)
    number = len(candidates(found, machine, asked))
    share = asked.replace(minutes=budget[0] / number, steps=-(-budget[1] // number))
    return tuple(
        one.replace(minutes=budget[0], steps=budget[1])
        for one in candidates(found, machine, share)
    )


def _asked(settings: Training, start: ModelCard | None) -> Training:
    """Return the settings with those that the model to start from determines."""
    if start is not None:
        if problem := start.refusal_as_start(settings):
            raise ValueError(problem)
        kept = {*settings.by_hand, *OF_NETWORK, "ndim"}
        settings = settings.with_network_of(start.training).replace(
            ndim=start.architecture.ndim, by_hand=tuple(sorted(kept))
        )
    return settings


def _machine(device: str) -> Machine:
    where = choose_device(device)
    return Machine(where.type, free_memory(where))


def planned_before(card: ModelCard, settings: Training) -> Training:
    """Return the plan of the run to resume, with what a person chose now."""
    by_hand = {name: getattr(settings, name) for name in settings.by_hand}
    every = {*card.training.by_hand, *by_hand}
    return card.training.replace(**by_hand, by_hand=tuple(sorted(every)))
