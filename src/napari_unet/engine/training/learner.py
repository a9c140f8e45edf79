"""A model that takes up corrections one by one, between two looks at an image.

Each correction is a few steps of training, of all layers, on patches of what was just
painted, of what was painted before and of the rest. Where nothing is painted the loss
is the difference from the probabilities before any correction (learning without
forgetting: Li and Hoiem 2016).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.geometry.boxes import around, centre, shape_of
from napari_unet.core.geometry.tiles import read_window
from napari_unet.core.model import Model
from napari_unet.core.training.patches import patch_size
from napari_unet.engine.device import choose_device, choose_precision, dtype
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import damaged, to_arrays, to_tensors
from napari_unet.engine.network.placing import settle
from napari_unet.engine.training.losses import weighted_cross_entropy
from napari_unet.engine.training.sampling import padded

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.training.training_set import Example

# Of the first step, for a model that took `_FEW` steps or fewer; it falls with the root
# of their number, as one that has learnt much loses much.
LEARNING_RATE, _FEW = 1e-3, 100
# Steps for one correction.
STEPS = 20
# Weight of the difference from before where nothing is painted.
KEEP = 3.0
# That difference may be a share of the entropy of the probabilities before: the square
# of so many steps over those that the model took. It binds models that learnt for long.
_FREE = 160
# Side of a patch in pixels: of the smallest, of the largest, and what is around the
# painted pixels.
_SIDE, _WIDEST, _AROUND = 64, 160, 24
# Patches to draw from, of each kind; and the side of those of the rest.
_POOL, _WIDE = 8, 100
# States kept to go back to: as many as napari undoes strokes, in so much memory.
_STATES, _STATE_BYTES = 100, 2**28

Place = tuple["Hashable", "Box"]
"""Where something was painted: the key of a field, and a box of it."""


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """The network after some corrections, to go back to."""

    weights: dict[str, Tensor]
    optimiser: dict[int, dict[str, Tensor]]
    corrections: tuple[Place, ...]
    # what was known then: a hash of each field
    known: dict[Hashable, bytes]

    @property
    def size(self) -> int:
        """In bytes."""
        kept = [*self.weights.values()]
        kept += [t for slots in self.optimiser.values() for t in slots.values()]
        return sum(t.numel() * t.element_size() for t in kept)


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """A part of a field, and the probabilities of it before any correction."""

    image: Tensor  # (1, channels, *input)
    classes: Tensor  # int64, (*output)
    border: Tensor  # float32, (*output)
    said: Tensor  # float32, (classes, *output): probabilities


@dataclass(slots=True, eq=False)
class _Known:
    """A field of which something is annotated, and a hash of that."""

    example: Example
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.digest = blake2b(self.example.classes.tobytes(), digest_size=16).digest()


class Learner:
    """Learns corrections of a model's predictions, and forgets them again.

    What it has learnt is a matter of the annotation: where that becomes what it was
    before, by whatever way, the network becomes what it was then.

    ValueError if the model cannot learn, see `ModelCard.refusal_of_corrections`.

    The model stays as it is. After so many `seconds` no more steps are taken for one
    correction.
    """

    def __init__(
        self, model: Model, device: str = "auto", *, seconds: float = 3.0
    ) -> None:
        if problem := model.card.refusal_of_corrections:
            raise ValueError(problem)
        self.card = model.card
        # that the last correction took
        self.steps = 0
        self._device = choose_device(device)
        self._precision = choose_precision(self._device)
        self._seconds = seconds
        self._module, self._before = (self._network(model) for _ in range(2))
        self._rate = LEARNING_RATE * min(1.0, (_FEW / max(self.card.steps, 1)) ** 0.5)
        self._optimiser = torch.optim.AdamW(
            self._module.parameters(), lr=self._rate, weight_decay=0.0
        )
        self._known: dict[Hashable, _Known] = {}
        # of each field as it was first: before, nothing of it was looked at
        self._first: dict[Hashable, bytes] = {}
        self._corrections: tuple[Place, ...] = ()
        self._original = self._state()
        self._states: deque[_State] = deque(maxlen=_STATES)

    @property
    def count(self) -> int:
        """Number of corrections that the network has learnt."""
        return len(self._corrections)

    @property
    def corrected(self) -> list[Example]:
        """The fields that it has learnt corrections of, each once, in their order."""
        keys = dict.fromkeys(key for key, _ in self._corrections)
        return [self._known[key].example for key in keys if key in self._known]

    def example(self, key: Hashable) -> Example | None:
        """Return what is known of a field; None if nothing is."""
        known = self._known.get(key)
        return None if known is None else known.example

    def know(self, key: Hashable, example: Example) -> None:
        """Take note of what is known of a field now."""
        known = self._known[key] = _Known(example)
        self._first.setdefault(key, known.digest)

    def begin(self) -> None:
        """Note that the network as it is belongs to what is known by now; once."""
        if not self._states:
            self._keep()

    def begin_again(self, key: Hashable) -> None:
        """Note that a field was known too early: what it is now is what it was first.

        The network as it is belongs to that; states of before are given up.
        """
        self._first[key] = self._known[key].digest
        self._states.clear()
        self._keep()

    def has_learnt(self, key: Hashable) -> bool:
        """Whether a correction of a field was learnt."""
        return any(corrected == key for corrected, _ in self._corrections)

    def learn(self, changed: Sequence[Place]) -> Iterator[None]:
        """Learn what was painted in some places, or forget what was taken back there.

        `know` was told what is known there now. A tick comes after each step.
        """
        self.steps = 0
        state = self._state_of_now()
        if state is not None:
            self._restore(state)
            return
        painted = tuple(place for place in changed if self._painted(place).any())
        if not painted:
            # taken back further than states are kept: what is left is learnt anew
            painted = tuple(p for p in self._corrections if self._painted(p).any())
            self._restore(self._original)
        if painted:
            yield from self._take_up(painted)
        self._corrections = (*self._corrections, *painted)
        self._keep()

    def model(self) -> Model:
        """Return the model as it is now, with the card of the one it began with."""
        return Model(self.card, to_arrays(self._module.state_dict()))

    def _network(self, model: Model) -> LayeredNetwork:
        module = LayeredNetwork(model.card.architecture)
        try:
            module.load_state_dict(to_tensors(model.weights))
        except RuntimeError as error:
            raise damaged(model) from error
        # norms keep their statistics, and nothing is dropped
        module.eval()
        settle(module.to(self._device), learns=self._precision)
        return module

    def _take_up(self, places: Sequence[Place]) -> Iterator[None]:
        """Take some steps for what is painted in some places, or until time is up."""
        until = perf_counter() + self._seconds
        rng = np.random.default_rng(len(self._corrections))
        new = [places[k % len(places)] for k in range(_POOL)]
        pools = (
            lambda n: self._patch_of(new[n], rng),
            lambda n: self._patch_of(self._drawn(rng), rng),
            lambda _: self._patch_anywhere(rng),
        )
        for number in range(STEPS):
            if perf_counter() > until:
                break
            # the steps are noisy, and the last one is what stays
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate * (1 - number / STEPS)
            self._optimiser.zero_grad(set_to_none=True)
            for pool in pools:
                self._push(pool(number % _POOL), 1 / len(pools))
            if not self._step():
                break
            yield
        self._hold(rng)

    @torch.no_grad()
    def _hold(self, rng: np.random.Generator) -> None:
        """Go back towards the network before any correction, if all changed too much.

        Along the line between two networks close to each other their difference is a
        quadratic of the way.
        """
        pairs = []
        for patch in (self._patch_anywhere(rng) for _ in range(_POOL)):
            scores = self._scores(self._module, patch.image)
            entropy = -(patch.said * patch.said.clamp_min(1e-6).log()).sum(dim=0)
            pairs.append((float(_difference(scores, patch)), float(entropy.mean())))
        changed, unsure = np.mean(pairs, axis=0)
        allowed = (_FREE / max(self.card.steps, 1)) ** 2 * unsure
        if changed > allowed:
            weights = self._module.state_dict()
            for name, before in self._before.state_dict().items():
                if before.is_floating_point():
                    way = weights[name] - before
                    weights[name].copy_(before + (allowed / changed) ** 0.5 * way)

    def _push(self, patch: _Patch, weight: float) -> None:
        """Add the gradient of a patch."""
        scores = self._scores(self._module, patch.image)
        table = torch.ones(len(scores), device=self._device)
        painted = weighted_cross_entropy(
            scores[None], patch.classes[None], patch.border[None], table
        )
        loss = painted + KEEP * _difference(scores, patch)
        (weight * loss).backward()

    def _scores(self, module: LayeredNetwork, image: Tensor) -> Tensor:
        low = dtype(self._precision)
        with torch.autocast(self._device.type, low, enabled=low != torch.float32):
            scores: Tensor = module(image)[0]
        return scores.float()

    def _step(self) -> bool:
        """Step, unless a gradient is no number: then what was learnt so far stands."""
        each = [p.grad.sum() for p in self._module.parameters() if p.grad is not None]
        if not bool(torch.stack(each).isfinite().all()):
            return False
        self._optimiser.step()
        self.steps += 1
        return True

    def _painted(self, place: Place) -> NDArray[np.bool_]:
        """Return which pixels of a place are known now."""
        key, box = place
        example = self.example(key)
        if example is None:
            return np.zeros(shape_of(box), bool)
        known: NDArray[np.bool_] = example.classes[box] != IGNORED
        return known

    def _drawn(self, rng: np.random.Generator) -> Place:
        """Draw a place where something is painted."""
        boxes = [
            (key, around(known.example.classes != IGNORED))
            for key, known in self._known.items()
        ]
        painted = [(key, box) for key, box in boxes if box is not None]
        return painted[rng.integers(len(painted))]

    def _patch_of(self, place: Place, rng: np.random.Generator) -> _Patch:
        """Cut out what is painted in a place, or a part of it where that is large."""
        key, box = place
        side = max(shape_of(box)[-2:]) + _AROUND
        middle = centre(box)
        if side > _WIDEST:
            painted = np.argwhere(self._painted(place))
            pixel = painted[rng.integers(len(painted))]
            middle = tuple(b.start + float(p) for b, p in zip(box, pixel, strict=True))
        side = min(max(side, _SIDE), _WIDEST)
        return self._cut(key, middle, side, rng)

    def _patch_anywhere(self, rng: np.random.Generator) -> _Patch:
        keys = list(self._known)
        key = keys[rng.integers(len(keys))]
        shape = self._known[key].example.field.shape
        return self._cut(key, tuple(rng.uniform(0, n) for n in shape), _WIDE, rng)

    @torch.no_grad()
    def _cut(
        self,
        key: Hashable,
        middle: Sequence[float],
        side: int,
        rng: np.random.Generator,
    ) -> _Patch:
        """Cut a patch around a point, inside the field where that is large enough.

        It is turned and mirrored in the y-x plane.
        """
        example, table = self._known[key].example, self._module.architecture
        shape, halo = example.field.shape, table.halo
        if table.ndim == 3:
            side = min(side, self.card.training.patch)
        size = patch_size(table, side, shape[0])
        start = [
            int(np.clip(round(m - n / 2), 0, max(length - n, 0)))
            for m, n, length in zip(middle, size, shape, strict=True)
        ]
        window = read_window(
            example.field,
            [a - h for a, h in zip(start, halo, strict=True)],
            [n + 2 * h for n, h in zip(size, halo, strict=True)],
        )
        parts: list[NDArray[Any]] = [
            example.scale.apply(window),
            padded(example.classes, start, size, IGNORED).astype(np.int64),
            padded(example.border, start, size, 0),
        ]
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        parts = [np.rot90(part, turns, (-2, -1)) for part in parts]
        parts = [part[..., ::-1] if flip else part for part in parts]
        image, classes, border = (
            torch.from_numpy(np.ascontiguousarray(part)).to(self._device)
            for part in parts
        )
        said = torch.softmax(self._scores(self._before, image[None]), dim=0)
        return _Patch(image[None], classes, border, said)

    def _state_of_now(self) -> _State | None:
        """Return the state that belongs to what is known now, if there was one."""
        now = {key: known.digest for key, known in self._known.items()}
        for state in reversed(self._states):
            if {**self._first, **state.known} == now:
                return state
        return None

    def _state(self) -> _State:
        slots = self._optimiser.state_dict()["state"]
        return _State(
            {name: t.clone() for name, t in self._module.state_dict().items()},
            {n: {k: t.clone() for k, t in s.items()} for n, s in slots.items()},
            self._corrections,
            {key: known.digest for key, known in self._known.items()},
        )

    def _restore(self, state: _State) -> None:
        self._module.load_state_dict(state.weights)
        groups = self._optimiser.state_dict()["param_groups"]
        slots = {
            n: {k: t.clone() for k, t in s.items()} for n, s in state.optimiser.items()
        }
        self._optimiser.load_state_dict({"state": slots, "param_groups": groups})
        self._corrections = state.corrections

    def _keep(self) -> None:
        """Keep the state to come back to; the oldest go where they are too many."""
        state = self._state()
        self._states.append(state)
        most = max(_STATE_BYTES // max(state.size, 1), 2)
        while len(self._states) > most:
            self._states.popleft()


def _difference(scores: Tensor, patch: _Patch) -> Tensor:
    """Return how far a network is from what it said where nobody painted.

    The mean of the Kullback-Leibler divergence over pixels.
    """
    free = (patch.classes == IGNORED).float()
    said = patch.said
    each = said * (said.clamp_min(1e-6).log() - F.log_softmax(scores, dim=0))
    return (free * each.sum(dim=0)).sum() / free.sum().clamp_min(1.0)
