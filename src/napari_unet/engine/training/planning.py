"""Settings that are to be planned: what the planner has to know, and what it leaves."""

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
    """Plan what is not chosen by hand, nor by the model to start from, on a device.

    Of what is tried it is the first. A ValueError says that training cannot begin with
    that model.
    """
    if settings.try_both:
        return candidates_of(found, settings, start, device)[0]
    return plan(found, _machine(device), _asked(settings, start))


def candidates_of(
    found: Fingerprint, settings: Training, start: ModelCard | None, device: str
) -> tuple[Training, ...]:
    """Return the plans that are worth a try, each for an equal share of the budget.

    That of all is said in each. The settings may be planned, as `planned` does it.
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
    """Return settings with what the model to start from leaves no choice of."""
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
    """Return the plan of the run that goes on, but for what was chosen by hand now."""
    by_hand = {name: getattr(settings, name) for name in settings.by_hand}
    every = {*card.training.by_hand, *by_hand}
    return card.training.replace(**by_hand, by_hand=tuple(sorted(every)))
