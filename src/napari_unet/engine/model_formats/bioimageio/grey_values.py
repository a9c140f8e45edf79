"""Rules for grey values in the words of bioimage.io packages, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from napari_unet.core.images.grey_steps import (
    AnyStep,
    Clip,
    ClipPercentiles,
    Fixed,
    GreySteps,
    MinMax,
    ZScore,
)
from napari_unet.core.settings import explain
from napari_unet.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.engine.model_formats.bioimageio.description import (
        Details,
        Step,
        Tensor,
    )

_EPS = 1e-6
# No end: more than any grey value.
_MOST = 1e30


def grey_steps(tensor: Tensor, where: object) -> GreySteps:
    """Return what is done with an image before a network sees it.

    A ValueError says which step cannot be done here.
    """
    made: list[AnyStep] = []
    for step in tensor.preprocessing:
        try:
            made += _done(step, tensor)
        except ValueError as error:
            why = explain(error) if isinstance(error, ValidationError) else str(error)
            raise ValueError(
                f"{where}: the grey values need {shown(step.id)}, which is not done "
                f"here so ({why.rstrip('.')})."
            ) from error
    # a network of planes is shown one at a time
    each_slice = len(tensor.space) == 2 and not measures_all(tensor)
    return GreySteps(steps=tuple(made), each_slice=each_slice)


def measures_all(tensor: Tensor) -> bool:
    """Whether a step measures more than one image: a data set, or all in a batch."""
    return any("batch" in (step.details.axes or ()) for step in tensor.preprocessing)


def in_package_words(rule: Normalisation, space: Sequence[str]) -> list[dict[str, Any]]:
    """Return the steps of a package that do what a rule does.

    `space` are the names of the spatial axes. The rules with names measure a part of
    the pixels, which no step does: in their place it is all pixels. Steps for some
    images alone are for all. A ValueError says which step has no words.

    The field's own library (bioimageio.core 0.11) measures for all steps at once, on
    the image as it is, others measure what the steps before have left: only what is
    measured first is the same everywhere.
    """
    steps = measured_on_all(rule).steps
    for step in steps[1:]:
        if not isinstance(step, Clip | Fixed):
            raise ValueError(
                f"{step.words!r} after other steps is done by programs in different "
                "ways, so that no package is written of it."
            )
    return [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}] + [
        _in_words(step, list(space)) for step in steps
    ]


def measured_on_all(rule: Normalisation) -> GreySteps:
    """Return a rule as steps that measure all pixels, as in `in_package_words`."""
    if not isinstance(rule, GreySteps):
        return GreySteps(steps=(ZScore(eps=_EPS),))
    steps = tuple(
        step.replace(above=None) if isinstance(step, Fixed) else step
        for step in rule.steps
    )
    return rule.replace(steps=steps)


def _done(step: Step, tensor: Tensor) -> Iterator[AnyStep]:
    """Yield the steps that do the same here."""
    of = step.details
    if of.reference_tensor not in (None, tensor.id):
        raise ValueError("it is measured on another image")
    match step.id:
        case "ensure_dtype":
            if of.dtype != "float32":
                raise ValueError(f"values are float32, found {shown(of.dtype)}")
        case "clip":
            yield _clip(of, tensor)
        case "scale_range":
            low, high = _percentiles(of)
            together = _together(of, tensor)
            yield MinMax(low=low, high=high, eps=of.eps, together=together)
        case "zero_mean_unit_variance":
            yield ZScore(eps=of.eps, together=_together(of, tensor))
        case "scale_linear":
            gain, offset = np.broadcast_arrays(of.gain, of.offset)
            if not gain.all():
                raise ValueError("it makes all values alike")
            # no -0, which people would wonder at
            yield from _fixed(0.0 - offset / gain, 1 / gain, of, tensor)
        case "fixed_zero_mean_unit_variance":
            mean, sd = np.broadcast_arrays(of.mean, of.std)
            yield from _fixed(mean, sd, of, tensor)
        case _:
            raise ValueError("it is not known")


def _clip(of: Details, tensor: Tensor) -> AnyStep:
    if of.min_percentile is None and of.max_percentile is None:
        low = -_MOST if of.min is None else of.min
        return Clip(low=low, high=_MOST if of.max is None else of.max)
    low, high = _percentiles(of)
    return ClipPercentiles(low=low, high=high, together=_together(of, tensor))


def _percentiles(of: Details) -> tuple[float, float]:
    low = 0.0 if of.min_percentile is None else of.min_percentile
    return low, 100.0 if of.max_percentile is None else of.max_percentile


def _together(of: Details, tensor: Tensor) -> bool:
    """Return whether all channels are measured as one."""
    if of.axes is None:
        return True
    if left_out := set(tensor.space).difference(of.axes):
        raise ValueError(
            f"it is measured for each place along {', '.join(sorted(left_out))}"
        )
    return "channel" in of.axes


def _fixed(mean: Any, sd: Any, of: Details, tensor: Tensor) -> Iterator[AnyStep]:
    """Yield fixed numbers, of each channel or of all."""
    if mean.ndim == 0:
        yield Fixed(mean=float(mean), sd=float(sd))
        return
    if of.axis != "channel" or len(mean) != len(tensor.channels):
        raise ValueError(f"it has {len(mean)} numbers, not one for each channel")
    for number, (m, s) in enumerate(zip(mean, sd, strict=True)):
        yield Fixed(mean=float(m), sd=float(s), channels=(number,))


def _in_words(step: AnyStep, space: list[str]) -> dict[str, Any]:
    """Return a step in the words of a package."""
    if step.channels:
        raise ValueError("a step for some channels alone has no words in a package.")
    axes = ["channel", *space] if getattr(step, "together", False) else space
    match step:
        case Clip():
            return {"id": "clip", "kwargs": {"min": step.low, "max": step.high}}
        case ClipPercentiles():
            return {
                "id": "clip",
                "kwargs": {
                    "min_percentile": step.low,
                    "max_percentile": step.high,
                    "axes": axes,
                },
            }
        case MinMax():
            return {
                "id": "scale_range",
                "kwargs": {
                    "min_percentile": step.low,
                    "max_percentile": step.high,
                    "axes": axes,
                    "eps": step.eps or _EPS,
                },
            }
        case ZScore():
            return {
                "id": "zero_mean_unit_variance",
                "kwargs": {"axes": axes, "eps": step.eps or _EPS},
            }
        case Fixed():
            gain = 1 / step.sd
            values = {"gain": gain, "offset": -step.mean * gain}
            return {"id": "scale_linear", "kwargs": values}
    raise ValueError(f"a package has no words for {step.words!r}.")
