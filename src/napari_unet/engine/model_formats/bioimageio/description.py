"""What the yaml of a bioimage.io package says of a model, in format 0.4 or 0.5.

Only what a network needs to run is read. The older format is brought into the words of
the newer one first. Specification: https://github.com/bioimage-io/spec-bioimage-io
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from napari_unet.core.settings import explain
from napari_unet.core.text import shown
from napari_unet.io.units import micrometres

_Pixels = Annotated[int, Field(ge=0, le=2**20)]
_FEW = 64  # tensors, axes and steps of a real package are fewer
_MOST_CHANNELS = 4096


class _Part(BaseModel):
    """Base of what is read; whatever else is there is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Growing(_Part):
    """A size of min + n × step."""

    min: _Pixels
    step: _Pixels


class Referring(_Part):
    """A size that follows from that of another axis."""

    tensor_id: str
    axis_id: str
    offset: int = 0


class Axis(_Part):
    """One axis of a tensor."""

    type: Literal["batch", "channel", "space", "time", "index"]
    id: str = ""
    size: _Pixels | Growing | Referring | None = None
    halo: _Pixels = 0
    scale: float = Field(1.0, gt=0)
    unit: str | None = None
    channel_names: tuple[str, ...] = Field((), max_length=_MOST_CHANNELS)

    @property
    def name(self) -> str:
        """What other parts of the package call it."""
        return self.id or ("x" if self.type == "space" else self.type)


_Numbers = float | tuple[float, ...]


class Details(_Part):
    """What a step says of itself: all that any of those that are known has."""

    axes: tuple[str, ...] | None = None  # over which it measures; None for all
    axis: str | None = None  # along which its numbers differ
    dtype: str = "float32"
    eps: float = 1e-6
    min: float | None = None
    max: float | None = None
    min_percentile: float | None = None
    max_percentile: float | None = None
    gain: _Numbers = 1.0
    offset: _Numbers = 0.0
    mean: _Numbers = 0.0
    std: _Numbers = 1.0
    reference_tensor: str | None = None


class Step(_Part):
    """One step of what is done with the values before or after the network."""

    id: str
    # mypy would take an `alias` of this name for all arguments
    details: Details = Field(Details(), validation_alias=AliasChoices("kwargs"))


class TestTensor(_Part):
    """A file of what goes in or comes out in a test."""

    source: str
    sha256: str | None = None


class Tensor(_Part):
    """What goes in or comes out."""

    id: str
    test_tensor: TestTensor | None = None
    axes: tuple[Axis, ...] = Field(max_length=_FEW)
    data: Any = None
    preprocessing: tuple[Step, ...] = Field((), max_length=_FEW)
    postprocessing: tuple[Step, ...] = Field((), max_length=_FEW)

    @property
    def space(self) -> dict[str, Axis]:
        """Its spatial axes by their letters."""
        return {axis.name: axis for axis in self.axes if axis.type == "space"}

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of its channels."""
        return next(axis.channel_names for axis in self.axes if axis.type == "channel")

    @property
    def is_share(self) -> bool:
        """Whether its values are said to be from 0 to 1."""
        # one for all channels, or one for each
        parts = self.data if isinstance(self.data, list) else [self.data]
        return bool(parts) and all(
            isinstance(part, dict) and part.get("range") == [0, 1] for part in parts
        )


class WeightsFile(_Part):
    """A file of weights."""

    source: str
    sha256: str | None = None


class Weights(_Part):
    """The forms that the network is there in, of those that are read."""

    pytorch_state_dict: WeightsFile | None = None
    torchscript: WeightsFile | None = None
    onnx: WeightsFile | None = None


class Package(_Part):
    """What is read of a package."""

    type: Literal["model"]
    name: str
    inputs: tuple[Tensor, ...] = Field(min_length=1, max_length=_FEW)
    outputs: tuple[Tensor, ...] = Field(min_length=1, max_length=_FEW)
    weights: Weights
    config: dict[str, Any] = {}

    @property
    def ours(self) -> dict[str, Any]:
        """What this program wrote into it; nothing in a package of another."""
        found = self.config.get("napari_unet")
        return found if isinstance(found, dict) else {}


def package_of(found: dict[str, Any], where: object) -> Package:
    """Read a yaml of format 0.4 or 0.5; a ValueError says what is wrong, and where."""
    version = str(found.get("format_version", ""))
    of_old, of_new = (f"{version}.".startswith(kind) for kind in ("0.4.", "0.5."))
    if not (of_old or of_new):
        raise ValueError(
            f"{where}: is of bioimage.io's format {shown(version) or 'unknown'}; 0.4 "
            "and 0.5 are read."
        )
    try:
        package = Package.model_validate(_in_new_words(found) if of_old else found)
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error)}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{where}: its inputs and outputs are not described as format {version} "
            "has it."
        ) from error
    if len(package.inputs) > 1:
        raise ValueError(
            f"{where}: the network takes {len(package.inputs)} images at once; one "
            "with one input can be run."
        )
    return package


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a network takes and gives, in pixels along ([z,] y, x): see `Opaque`."""

    smallest: tuple[int, ...]
    growth: tuple[int, ...]
    lost: tuple[int, ...]
    border: tuple[int, ...]


def sizes_of(package: Package, where: object) -> Sizes:
    """Return the rules for tiles; a ValueError says which cannot be followed."""
    taken, given = package.inputs[0], package.outputs[0]
    for tensor in (taken, given):
        letters = [axis.name for axis in tensor.axes]
        space = letters[2:]
        if letters[:2] != ["batch", "channel"] or space not in (
            list("yx"),
            list("zyx"),
        ):
            raise ValueError(
                f"{where}: {shown(tensor.id)} has the axes {shown(', '.join(letters))};"
                " networks with batch, channel, [z,] y, x can be run."
            )
        if not tensor.channels:
            raise ValueError(f"{where}: {shown(tensor.id)} has no channels.")
    if list(taken.space) != list(given.space):
        raise ValueError(
            f"{where}: takes the axes {', '.join(taken.space)} and gives "
            f"{', '.join(given.space)}; networks that keep them can be run."
        )
    rows = [_sizes(package, letter, where) for letter in taken.space]
    smallest, growth, lost, border = zip(*rows, strict=True)
    return Sizes(smallest, growth, lost, border)


def spacing_of(package: Package) -> tuple[float, ...] | None:
    """Return the pixel size, in micrometres along ([z,] y, x); None if not told."""
    sizes = [
        micrometres(axis.scale, axis.unit or "")
        for axis in package.inputs[0].space.values()
    ]
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _sizes(package: Package, letter: str, where: object) -> tuple[int, int, int, int]:
    """Return smallest, growth, lost and border along an axis."""
    taken, given = package.inputs[0], package.outputs[0]
    before, after = taken.space[letter], given.space[letter]
    size = before.size
    if isinstance(size, Referring) and size.axis_id in taken.space and not size.offset:
        size = taken.space[size.axis_id].size
    if size is None or isinstance(size, Referring):
        raise ValueError(f"{where}: does not say which sizes along {letter} it takes.")
    smallest, growth = (size, 0) if isinstance(size, int) else (size.min, size.step)
    if isinstance(after.size, Referring):
        same = after.size.tensor_id == taken.id and after.size.axis_id == before.name
        change = after.size.offset if before.scale == after.scale and same else 1
    elif isinstance(after.size, int) and not growth:
        change = after.size - smallest
    else:
        change = 1
    if change > 0 or change % 2:
        raise ValueError(
            f"{where}: its output along {letter} has not as many pixels as its input, "
            "or as many less on both sides; other networks cannot be run."
        )
    lost = -change // 2
    return smallest, growth, lost, lost + after.halo


def _in_new_words(found: dict[str, Any]) -> dict[str, Any]:
    """Bring a yaml of format 0.4 into the form of 0.5."""
    inputs = [_new_tensor(one, {}) for one in found["inputs"][:_FEW]]
    by_name = {one["id"]: one for one in inputs}
    outputs = [_new_tensor(one, by_name) for one in found["outputs"][:_FEW]]
    for tensors, tests in ((inputs, "test_inputs"), (outputs, "test_outputs")):
        for tensor, source in zip(tensors, found.get(tests) or (), strict=False):
            tensor["test_tensor"] = {"source": source}
    return {**found, "inputs": inputs, "outputs": outputs}


def _new_tensor(old: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return a tensor in the new form; axes were letters, with a list of sizes."""
    shape, letters = old["shape"], str(old["axes"])[:_FEW]
    halo = old.get("halo") or [0] * len(letters)
    axes = []
    for number, letter in enumerate(letters):
        size = _new_size(shape, number)
        axis: dict[str, Any] = {"type": "space", "id": letter, "size": size}
        if isinstance(shape, dict) and "reference_tensor" in shape:
            axis |= _by_reference(shape, number, letter, inputs)
        if letter == "c":
            count = int(axis["size"] if isinstance(axis["size"], int) else 0)
            names = [f"channel {k}" for k in range(1, min(count, _MOST_CHANNELS) + 1)]
            axis = {"type": "channel", "channel_names": names}
        elif letter in "bti":
            kinds = {"b": "batch", "t": "time", "i": "index"}
            axis = {"type": kinds[letter]}
        else:
            axis["halo"] = halo[number]
        axes.append(axis)
    return {
        "id": old["name"],
        "axes": axes,
        "data": {"range": old.get("data_range")},
        "preprocessing": [_new_step(s) for s in (old.get("preprocessing") or ())],
        "postprocessing": [_new_step(s) for s in (old.get("postprocessing") or ())],
    }


def _new_size(shape: Any, number: int) -> Any:
    """Return a size that is the axis's own; one without a step is fixed."""
    if isinstance(shape, list):
        return shape[number]
    if "min" not in shape:
        return None
    least, step = shape["min"][number], shape["step"][number]
    return {"min": least, "step": step} if step else least


def _by_reference(
    shape: dict[str, Any], number: int, letter: str, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Return a size by that of an input: in × scale + 2 × offset."""
    scale, offset = shape["scale"][number], 2 * shape["offset"][number]
    name = shape["reference_tensor"]
    if letter == "c":
        known = inputs[name]["axes"]
        channels = [a["channel_names"] for a in known if a["type"] == "channel"]
        return {"size": int(scale * len(channels[0]) + offset)}
    return {
        "size": {"tensor_id": name, "axis_id": letter, "offset": offset},
        "scale": 1 / scale,
    }


def _new_step(old: dict[str, Any]) -> dict[str, Any]:
    kwargs = dict(old.get("kwargs") or {})
    letters = {"b": "batch", "c": "channel"}
    # letters, in some packages in a list as in the newer format
    if isinstance(kwargs.get("axes"), str | list):
        kwargs["axes"] = [letters.get(a, a) for a in kwargs["axes"]]
    # without a mode numbers are fixed, if there are any
    usual = "fixed" if "mean" in kwargs else "per_sample"
    name, mode = old["name"], kwargs.pop("mode", usual)
    if mode not in ("fixed", "per_dataset", "per_sample"):
        raise ValueError(f"{name} has the mode {mode}")
    if mode == "per_dataset":
        kwargs["axes"] = ["batch", *kwargs.get("axes", ())]
    if mode == "fixed":
        name = "fixed_zero_mean_unit_variance"
    if mode == "fixed" or (name == "scale_linear" and "axes" in kwargs):
        # numbers for the axis that is left: a list, or one for all
        kwargs["axis"] = "channel"
    return {"id": name, "kwargs": kwargs}
