"""What nnU-Net v2 planned: ``plans.json`` and ``dataset.json``, as far as is needed.

Plans have had a description of the network since version 2.4; older ones have its
sizes, from which nnU-Net builds the same networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from napari_unet.core.settings import validated
from napari_unet.core.text import listed, shown
from napari_unet.io.records import read_json

if TYPE_CHECKING:
    from pathlib import Path

Axes = tuple[Annotated[int, Field(ge=1, le=2**16)], ...]
Counts = tuple[Annotated[int, Field(ge=1, le=2**16)], ...]


class _Record(BaseModel):
    """Base of what is read; nnU-Net writes more than is needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; what is wrong with it is a ValueError or an OSError."""
        return cls.of(read_json(path), path)

    @classmethod
    def of(cls, found: object, path: Path) -> Self:
        """Return the record that a file holds."""
        return validated(cls, found, f"{path}: is no plan that is known")


class Sizes(_Record):
    """What a network is built with, by stage from fine to coarse."""

    features: Counts = Field(alias="features_per_stage", min_length=2, max_length=16)
    kernels: tuple[Axes, ...] = Field(alias="kernel_sizes")
    strides: tuple[Axes, ...]
    # convolutions, or residual units
    units: Counts = Field(
        validation_alias=AliasChoices("n_conv_per_stage", "n_blocks_per_stage")
    )
    # from coarse to fine
    decoder: Counts = Field(alias="n_conv_per_stage_decoder")
    bias: bool = Field(False, alias="conv_bias")
    norm: str = Field(alias="norm_op")
    norm_options: dict[str, Any] | None = Field(None, alias="norm_op_kwargs")
    activation: str = Field(alias="nonlin")
    activation_options: dict[str, Any] | None = Field(None, alias="nonlin_kwargs")
    activation_first: bool = Field(False, alias="nonlin_first")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        stages = len(self.features)
        lengths = [
            *map(len, (self.kernels, self.strides, self.units)),
            len(self.decoder) + 1,
        ]
        if any(length != stages for length in lengths):
            raise ValueError(
                f"the network has {stages} widths, its other sizes are those of "
                f"{listed([str(n) for n in lengths], 4)} stages."
            )
        if any(stride != 1 for stride in self.strides[0]):
            raise ValueError(
                f"the first stage reduces the image, its strides are {self.strides[0]}."
            )
        return self


class Network(_Record):
    """Which network it is."""

    name: str = Field(alias="network_class_name")
    sizes: Sizes = Field(alias="arch_kwargs")


class _OldSizes(_Record):
    """The sizes that plans had before version 2.4."""

    name: str = Field(alias="UNet_class_name")
    width: int = Field(alias="UNet_base_num_features", ge=1, le=2**16)
    widest: int = Field(alias="unet_max_num_features", ge=1, le=2**16)
    kernels: tuple[Axes, ...] = Field(alias="conv_kernel_sizes")
    strides: tuple[Axes, ...] = Field(alias="pool_op_kernel_sizes")
    units: Counts = Field(alias="n_conv_per_stage_encoder", max_length=16)
    decoder: Counts = Field(alias="n_conv_per_stage_decoder")

    @property
    def described(self) -> dict[str, Any]:
        """The description that newer plans have."""
        widths = [min(self.width * 2**d, self.widest) for d in range(len(self.units))]
        return {
            "network_class_name": self.name,
            "arch_kwargs": {
                "features_per_stage": widths,
                "kernel_sizes": self.kernels,
                "strides": self.strides,
                "n_conv_per_stage": self.units,
                "n_conv_per_stage_decoder": self.decoder,
                "conv_bias": True,
                "norm_op": "InstanceNorm",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "nonlin": "LeakyReLU",
            },
        }


class Configuration(_Record):
    """How the network is run: its patches, pixel size and grey values."""

    patch: Axes = Field(alias="patch_size", min_length=2, max_length=3)
    spacing: tuple[Annotated[float, Field(gt=0)], ...]
    # of each channel
    normalisation: tuple[str, ...] = Field(alias="normalization_schemes")
    masked: tuple[bool, ...] = Field((), alias="use_mask_for_norm")
    # whose segmentation the network is shown, too
    previous_stage: str | None = None
    network: Network = Field(alias="architecture")

    @model_validator(mode="after")
    def _axes_fit(self) -> Self:
        ndim, sizes = len(self.patch), self.network.sizes
        axes = {*map(len, (self.spacing, *sizes.kernels, *sizes.strides))}
        if axes != {ndim}:
            raise ValueError(
                f"the patch has {ndim} axes, spacing, kernels and strides have "
                f"{listed(sorted(map(str, axes)))}."
            )
        return self


class Plans(_Record):
    """A whole plan."""

    order: tuple[int, int, int] = Field(alias="transpose_forward")
    reader: str = Field("", alias="image_reader_writer")
    configurations: dict[str, dict[str, Any]]
    # of each channel, by its number
    intensities: dict[str, dict[str, Any]] = Field(
        {},
        validation_alias=AliasChoices(
            "foreground_intensity_properties_per_channel",
            "foreground_intensity_properties_by_modality",
        ),
    )

    @model_validator(mode="after")
    def _order_of_axes(self) -> Self:
        if sorted(self.order) != [0, 1, 2]:
            raise ValueError(f"transpose_forward is no order of axes: {self.order}.")
        return self

    def configuration(self, name: str, path: Path) -> Configuration:
        """Return a configuration, with what it inherits from others."""
        found: dict[str, Any] = {}
        seen: list[str] = []
        while name not in seen and isinstance(self.configurations.get(name), dict):
            seen.append(name)
            found = {**self.configurations[name], **found}
            if "inherits_from" not in self.configurations[name]:
                break
            name = str(self.configurations[name]["inherits_from"])
        else:
            raise ValueError(
                f"{path}: has no configuration {shown(name)}, or one that inherits "
                "from itself; there are "
                f"{listed([*map(shown, self.configurations)]) or 'none'}."
            )
        if "architecture" not in found:
            found["architecture"] = _OldSizes.of(found, path).described
        return Configuration.of(found, path)


class Dataset(_Record):
    """What it learnt from."""

    channels: dict[str, Any] = Field(
        validation_alias=AliasChoices("channel_names", "modality"), min_length=1
    )
    labels: dict[str, Any]
    regions: tuple[Any, ...] = Field((), alias="regions_class_order")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in their order, the background's first.

        A ValueError says that the network gives regions that may overlap.
        """
        numbers = {n: v for n, v in self.labels.items() if n != "ignore"}
        if self.regions or any(isinstance(v, list) for v in numbers.values()):
            raise ValueError(
                "its regions may overlap, which is learnt by a sigmoid for each; here "
                "each pixel has one class."
            )
        names = {v: n for n, v in numbers.items() if isinstance(v, int)}
        if sorted(names) != list(range(len(numbers))) or len(names) < 2:
            raise ValueError(
                f"labels should be numbered from 0 on, found {shown(self.labels)}."
            )
        return tuple(names[number] for number in range(len(names)))
