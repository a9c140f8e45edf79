"""A network of the literature that no preset offers, as a table."""

from __future__ import annotations

from napari_unet.core.network.published import unet3d as unet3d
