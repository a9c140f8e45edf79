"""A model that takes up corrections one by one, between two looks at an image.

Each correction is a few steps of the optimiser, until what was painted is right; only
the last layers, at full resolution, take them. What nobody painted is held as it was:
the loss there is the difference from what the network said before any correction
(learning without forgetting: Li and Hoiem 2016). Steps that do not bring what was
painted right, or only with more than a little changed elsewhere, are taken back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import label
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.geometry.boxes import around, centre, shape_of
from napari_unet.core.geometry.tiles import read_window
from napari_unet.core.model import Model
from napari_unet.core.training.patches import patch_size
from napari_unet.engine.device import choose_device, choose_precision, dtype
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import damaged, to_arrays, to_tensors
from napari_unet.engine.training.losses import weighted_cross_entropy
from napari_unet.engine.training.sampling import padded

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.training.training_set import Example

LEARNING_RATE = 1e-3
# Steps for one correction, at most.
_MOST = 40
# What is right when a correction is learnt: the share of the pixels of regions and of
# background, and how much of each object, as intersection over union.
_RIGHT, _RIGHT_BACKGROUND, _IOU = 0.98, 0.9, 0.65
# Smaller parts of objects may be but what is left at the edge of a patch.
_SMALLEST = 20
# A painted pixel of which the network is so sure counts no more.
_SURE = 0.9
# How much it counts to stay as it was where nobody painted, and the mean change there,
# as a Kullback-Leibler divergence, that is the most.
_KEEP, _DRIFT = 20.0, 0.0005
# Side of a patch in pixels: of the smallest, of the largest, and what is around the
# painted pixels.
_SIDE, _WIDEST, _AROUND = 64, 160, 24
# Patches of what was painted, and was painted before; patches of all, and their side.
_POOL, _REST, _WIDE = 6, 6, 100
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
    """A part of a field, and what the network said of it before."""

    features: Tensor  # (1, features, *)
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

    Parameters
    ----------
    model : Model
        Stays as it is.
    seconds : float
        After so long no more steps are taken for one correction.
    clock : callable, optional
        Returns the time in seconds.
    """

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        *,
        seconds: float = 2.0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        if problem := model.card.refusal_of_corrections:
            raise ValueError(problem)
        self.card = model.card
        # how cells are found, in pixels of the network
        self.segmentation = model.card.segmentation
        # that the last correction took; 0 if it was right already, or taken back
        self.steps = 0
        self._device = choose_device(device)
        self._precision = choose_precision(self._device)
        self._seconds, self._clock = seconds, clock
        self._module, self._before = (self._network(model) for _ in range(2))
        self._taught = self._module.end_weights
        self._optimiser = torch.optim.AdamW(
            self._taught, lr=LEARNING_RATE, weight_decay=0.0
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
        module.to(self._device, memory_format=module.layout)  # type: ignore[call-overload]
        return module

    def _take_up(self, places: Sequence[Place]) -> Iterator[None]:
        """Step until what is painted in some places is right, or time is up.

        Where it is not right by then, or only with too much else changed, the steps are
        taken back: they would harm without a gain.
        """
        until, before = self._clock() + self._seconds, self._state()
        rng = np.random.default_rng(len(self._corrections))
        new = [self._patch_of(place, rng) for place in places[-_POOL:]]
        yield
        turned = [self._patch_of(place, rng, turned=True) for place in places[-_POOL:]]
        yield
        old = [self._patch_of(place, rng, turned=True) for place in self._drawn(rng)]
        yield
        rest = [self._patch_anywhere(rng) for _ in range(_REST)]
        yield
        for _ in range(_MOST):
            self._optimiser.zero_grad(set_to_none=True)
            if self._all_right(new) or self._clock() > until:
                break
            for pool in (new, turned, old, rest):
                for patch in pool:
                    self._push(patch, 1 / len(pool))
            if not self._step():
                break
            yield
        self._hold(rest)
        if not self._all_right(new):
            self._restore(before)
            self.steps = 0

    @torch.no_grad()
    def _all_right(self, patches: Sequence[_Patch]) -> bool:
        """Whether the network has right by now what is painted in patches."""
        return all(
            self._is_right(torch.softmax(self._scores(self._module, p.features), 0), p)
            for p in patches
        )

    def _push(self, patch: _Patch, weight: float) -> None:
        """Add the gradient of a patch.

        Only painted pixels of which the network is not sure count: the others, and what
        nobody painted, are to stay as they were.
        """
        scores = self._scores(self._module, patch.features)
        found = torch.softmax(scores.detach(), dim=0)
        known = patch.classes != IGNORED
        sure = found.gather(0, torch.where(known, patch.classes, 0)[None])[0] > _SURE
        classes = torch.where(sure, IGNORED, patch.classes)
        table = torch.ones(len(scores), device=self._device)
        wrong = weighted_cross_entropy(
            scores[None], classes[None], patch.border[None], table
        )
        loss = wrong + _KEEP * _difference(scores, patch)
        (weight * loss).backward()

    def _scores(self, module: LayeredNetwork, features: Tensor) -> Tensor:
        low = dtype(self._precision)
        with torch.autocast(self._device.type, low, enabled=low != torch.float32):
            scores: Tensor = module.scores_of(features)[0]
        return scores.float()

    def _step(self) -> bool:
        """Step, unless a gradient is no number: then what was learnt so far stands."""
        each = [p.grad.sum() for p in self._taught if p.grad is not None]
        if not bool(torch.stack(each).isfinite().all()):
            return False
        self._optimiser.step()
        self.steps += 1
        return True

    @torch.no_grad()
    def _hold(self, rest: Sequence[_Patch]) -> None:
        """Go back a part of the way where too much changed that nobody painted.

        So near, the difference grows with the square of the way.
        """
        drift = [_difference(self._scores(self._module, p.features), p) for p in rest]
        mean = float(torch.stack(drift).mean())
        if mean <= _DRIFT:
            return
        share = (_DRIFT / mean) ** 0.5 if isfinite(mean) else 0.0
        before = self._before.end_weights
        for now, then in zip(self._taught, before, strict=True):
            now.copy_(torch.lerp(then, now.nan_to_num(), share))

    def _is_right(self, probabilities: Tensor, patch: _Patch) -> bool:
        """Whether the painted objects are found, and nothing where there is none."""
        found = probabilities.cpu().numpy()
        classes = patch.classes.cpu().numpy()
        known = classes != IGNORED
        numbers = self.card.cell_classes
        seen = found.argmax(axis=0)
        of_regions = known & ~np.isin(classes, (0, *numbers))
        if of_regions.any() and (seen == classes)[of_regions].mean() < _RIGHT:
            return False
        if not numbers:
            return bool((seen == classes)[known].mean() >= _RIGHT)
        cells = segment_instances(found, self.segmentation, cell_classes=numbers)
        empty = known & (classes == 0)
        if empty.any() and (cells[empty] > 0).mean() > 1 - _RIGHT_BACKGROUND:
            return False
        objects, count = label(np.isin(classes, numbers))
        return all(_is_found(objects == n, cells) for n in range(1, count + 1))

    def _painted(self, place: Place) -> NDArray[np.bool_]:
        """Return which pixels of a place are known now."""
        key, box = place
        example = self.example(key)
        if example is None:
            return np.zeros(shape_of(box), bool)
        known: NDArray[np.bool_] = example.classes[box] != IGNORED
        return known

    def _drawn(self, rng: np.random.Generator) -> list[Place]:
        """Draw places of what was painted before: corrections, and the rest of it."""
        found: list[Place] = []
        keys = list(self._known)
        for number in range(_POOL):
            if number % 2 and self._corrections:
                place = self._corrections[rng.integers(len(self._corrections))]
                if self._painted(place).any():
                    found.append(place)
                continue
            key = keys[rng.integers(len(keys))]
            box = around(self._known[key].example.classes != IGNORED)
            if box is not None:
                found.append((key, box))
        return found

    def _patch_of(
        self, place: Place, rng: np.random.Generator, *, turned: bool = False
    ) -> _Patch:
        """Cut out what is painted in a place, or a part of it where that is large."""
        key, box = place
        side = max(shape_of(box)[-2:]) + _AROUND
        middle = centre(box)
        if side > _WIDEST:
            painted = np.argwhere(self._painted(place))
            pixel = painted[rng.integers(len(painted))]
            middle = tuple(b.start + float(p) for b, p in zip(box, pixel, strict=True))
        side = min(max(side, _SIDE), _WIDEST)
        return self._cut(key, middle, side, rng if turned else None)

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
        rng: np.random.Generator | None,
    ) -> _Patch:
        """Cut a patch around a point, inside the field where that is large enough.

        With random numbers it is turned and mirrored in the y-x plane.
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
        if rng is not None:
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            parts = [np.rot90(part, turns, (-2, -1)) for part in parts]
            parts = [part[..., ::-1] if flip else part for part in parts]
        image, classes, border = (
            torch.from_numpy(np.ascontiguousarray(part)).to(self._device)
            for part in parts
        )
        low = dtype(self._precision)
        with torch.autocast(self._device.type, low, enabled=low != torch.float32):
            features = self._before.features(image[None])
        said = torch.softmax(self._scores(self._before, features), dim=0)
        return _Patch(features, classes, border, said)

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


def _is_found(painted: NDArray[np.bool_], cells: NDArray[np.int32]) -> bool:
    """Whether a cell is, but for a little, what was painted."""
    size = int(painted.sum())
    if size < _SMALLEST:
        return True
    counts = np.bincount(cells[painted])
    counts[0] = 0
    if not counts.any():
        return False
    best = int(counts.argmax())
    return bool(counts[best] / (size + (cells == best).sum() - counts[best]) >= _IOU)


def _difference(scores: Tensor, patch: _Patch) -> Tensor:
    """Return how far a network is from what it said where nobody painted.

    The mean of the Kullback-Leibler divergence over pixels.
    """
    free = (patch.classes == IGNORED).float()
    said = patch.said
    each = said * (said.clamp_min(1e-6).log() - F.log_softmax(scores, dim=0))
    return (free * each.sum(dim=0)).sum() / free.sum().clamp_min(1.0)
