"""The meaning of the values of a TIFF: grey, colours, transparency or channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.io.pixels import Pixels

PLAIN = {"generic", "uniform", "shaped"}
"""Series of files without a description."""

_ALPHA = {1, 2}  # TIFF 6.0, tag ExtraSamples: associated and unassociated alpha

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_FOREIGN = {
    _PHOTOMETRIC.SEPARATED: "CMYK",
    _PHOTOMETRIC.YCBCR: "YCbCr",
    _PHOTOMETRIC.CIELAB: "CIELAB",
    _PHOTOMETRIC.ICCLAB: "ICCLAB",
    _PHOTOMETRIC.ITULAB: "ITULAB",
    _PHOTOMETRIC.LOGL: "LogL",
    _PHOTOMETRIC.LOGLUV: "LogLuv",
}
# Writes booleans with 0 as white by default, which is never meant for a mask.
_TIFFFILE = "tifffile.py"
# tifffile converts these colours when it decodes them.
_JPEG = {"OJPEG", "JPEG", "ALT_JPEG", "JPEG_2000_LOSSY", "APERIO_JP2000_YCBC", "WEBP"}


def with_meaning(pixels: Pixels, series: Any) -> Pixels:
    """Set the meaning of the values: grey, colours, transparency or channels."""
    page = series.keyframe
    kind = page.photometric
    if series.kind == "lsm":
        return pixels  # measured values, in whatever colours
    if kind == _PHOTOMETRIC.MINISWHITE:
        return _with_white_as_zero(pixels, page)
    if kind == _PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _with_palette(pixels, page)
    if kind in _FOREIGN and page.compression.name not in _JPEG:
        return replace(pixels, foreign=_FOREIGN[kind])
    if "s" not in pixels.axes:
        return pixels
    count = pixels.data.shape[pixels.axes.index("s")]
    declared = sum(int(extra) in _ALPHA for extra in page.extrasamples)
    if kind != _PHOTOMETRIC.RGB:
        return replace(pixels, alpha=min(declared, count - 1))
    planes = not pixels.axes.endswith("s") and series.kind in PLAIN
    # Programs call any three or four planes colours, and the fourth transparency; this
    # is believed only of interleaved bytes.
    if count > 3 and not planes and pixels.data.dtype == np.uint8:
        return replace(pixels, alpha=count - 3)
    if planes or count > 3:
        unknown = set(pixels.axes) - set("tczyxs")
        channels = "".join("z" if a in unknown else a for a in pixels.axes)
        slices = "".join("t" if a in unknown else a for a in pixels.axes)
        return replace(
            pixels,
            guess=f"its header calls {count} planes colours, which may be colours, "
            f"channels or slices: read as channels (--axes "
            f"{channels.replace('s', 'c')}); name slices with --axes "
            f"{slices.replace('s', 'z')}.",
        )
    return pixels


def _with_white_as_zero(pixels: Pixels, page: Any) -> Pixels:
    """Invert the values, unless they are numbers of labels."""
    if page.bitspersample == 1 and page.software == _TIFFFILE:
        note = "its header calls 1 black, as tifffile's do of any mask: 1 is read."
        return replace(pixels, notes=(*pixels.notes, note))
    begin = "it is stored with white as 0:"
    note = f"{begin} read inverted, as it is shown."
    data = _inverted(np.asarray(pixels.data), page.bitspersample)
    shown = replace(pixels, data=data, notes=(*pixels.notes, note))
    if page.bitspersample == 1:
        return shown
    # ImageJ shows masks with an inverting table: their cells are 255, and black
    note = f"{begin} of labels, the numbers are read as they are stored."
    return replace(shown, labels=replace(pixels, notes=(*pixels.notes, note)))


def _with_palette(pixels: Pixels, page: Any) -> Pixels:
    """Add the palette, unless it only colours measured values."""
    # 16 bits in the file; some programs fill only the lower 8
    table = np.asarray(page.colormap).T
    palette = (table if table.max() < 256 else table >> 8).astype(np.uint8)
    grey = bool((palette == palette[:, :1]).all())
    ramp = bool((np.diff(palette.astype(int), axis=0) >= 0).all())
    deep = page.bitspersample > 8  # more values than there are greys in 8 bits
    if (not grey or (deep and ramp)) and (ramp or page.is_imagej):
        note = "it has a table of pseudo-colours: the values are read."
        return replace(pixels, notes=(*pixels.notes, note))
    return replace(pixels, palette=table if grey and deep else palette)


def _inverted(data: NDArray[Any], bits: int) -> NDArray[Any]:
    if data.dtype.kind == "b":
        return ~data
    if data.dtype.kind == "u":
        return np.asarray(data.dtype.type(2**bits - 1) - data)
    # of signed and real numbers, which no format defines, the order counts
    return np.asarray(data.max(initial=0) - data, data.dtype)
