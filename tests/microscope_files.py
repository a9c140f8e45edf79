"""Small files in the formats of microscopes, byte by byte.

No library that we may use writes these formats. What is written here is what their
published readers understand: this proves how we use the readers, and that of theirs
nothing is lost, but not that a microscope's own file is like these.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_MAGIC = 0x0ABECEDA
_LEVEL, _UINT, _DOUBLE, _BOOL = 11, 3, 6, 1


def write_nd2(
    path: Path,
    data: np.ndarray,
    axes: str,
    lost: Sequence[int] = (),
    *,
    calibrated: bool = True,
) -> Path:
    """Write loops over T, P (positions) and Z, and frames with the axes y, x, c.

    Pixels are 0.2 µm, slices 0.5 µm apart; the frames that are lost are left out.
    """
    *loops, height, width, channels = data.shape
    frames = data.reshape(-1, height, width, channels)
    chunks = {
        "ImageAttributesLV!": _lite("SLxImageAttributes", _attributes(frames)),
        "ImageMetadataLV!": _loops(list(zip(axes, loops, strict=False))),
        "ImageMetadataSeqLV|0!": _lite(
            "SLxPictureMetadata", _picture(channels, calibrated=calibrated)
        ),
    }
    for k, frame in enumerate(frames):
        if k not in lost:
            # a time stamp is before the pixels
            chunks[f"ImageDataSeq|{k}!"] = bytes(8) + frame.tobytes()
    path.write_bytes(_with_map(chunks))
    return path


def _attributes(frames: np.ndarray) -> Mapping[str, Any]:
    count, height, width, channels = frames.shape
    bits = 8 * frames.dtype.itemsize
    return {
        "uiWidth": width,
        "uiWidthBytes": width * channels * frames.dtype.itemsize,
        "uiHeight": height,
        "uiComp": channels,
        "uiBpcInMemory": bits,
        "uiBpcSignificant": bits,
        "uiSequenceCount": count,
    }


def _picture(channels: int, *, calibrated: bool) -> Mapping[str, Any]:
    planes = {
        f"a{k}": {"uiCompCount": 1, "pFluorescentProbe": {"m_uiColor": 255}}
        for k in range(channels)
    }
    return {
        "dCalibration": 0.2,
        "bCalibrated": calibrated,
        "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
    }


def _loops(loops: list[tuple[str, int]]) -> bytes:
    """Describe the loops of an acquisition, the outermost first."""
    found: Mapping[str, Any] = {}
    for axis, count in reversed(loops):
        kind = {"T": 1, "P": 2, "Z": 4}[axis]
        parameters: dict[str, Any] = {"uiCount": count}
        if axis == "T":
            parameters |= {"dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
        if axis == "Z":
            parameters |= {"dZLow": 0.0, "dZHigh": (count - 1) * 0.5, "dZStep": 0.5}
        if axis == "P":
            place = {"dPosX": 0.0, "dPosY": 0.0, "dPosZ": 0.0}
            parameters["Points"] = {f"p{k}": place for k in range(count)}
        below = {"ppNextLevelEx": {"next": found}} if found else {}
        found = {"eType": kind, "uLoopPars": parameters, **below}
    return _lite("SLxExperiment", found)


def _lite(name: str, value: Any) -> bytes:
    """Encode a value and its name as Nikon's "lite variant"."""
    text = (name + "\0").encode("utf-16-le")
    kind, content = _LEVEL, b""
    if isinstance(value, bool):
        kind, content = _BOOL, struct.pack("B", value)
    elif isinstance(value, int):
        kind, content = _UINT, struct.pack("<I", value)
    elif isinstance(value, float):
        kind, content = _DOUBLE, struct.pack("<d", value)
    else:
        inside = b"".join(_lite(*item) for item in value.items())
        length = 2 + len(text) + 12 + len(inside)
        content = struct.pack("<IQ", len(value), length) + inside
        content += bytes(8 * len(value))  # where each is, which nobody needs
    return struct.pack("BB", kind, len(name) + 1) + text + content


def _with_map(chunks: Mapping[str, bytes]) -> bytes:
    """Lay chunks one behind the other, behind a header and before a map of them."""
    name, version = b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0")
    content = bytearray(struct.pack("<IIQ", _MAGIC, 32, 64) + name + version)
    places = b""
    for title, data in chunks.items():
        places += title.encode() + struct.pack("<QQ", len(content), len(data))
        content += struct.pack("<IIQ", _MAGIC, 4072, len(data))
        content += title.encode().ljust(4072, b"\0") + data
    start = len(content)
    places += b"ND2 CHUNK MAP SIGNATURE 0000001!"
    title = b"ND2 FILEMAP SIGNATURE NAME 0001!"
    content += struct.pack("<IIQ", _MAGIC, len(title), len(places)) + title + places
    return bytes(
        content + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", start)
    )


def write_lif(path: Path, images: Mapping[str, tuple[str, np.ndarray]]) -> Path:
    """Write images with a title, axes (c, t, m, z, y, x in any order) and pixels.

    Pixels are 0.2 µm, slices 0.5 µm apart, in metres from the first to the last.
    """
    elements = "".join(_lif_element(k, *one) for k, one in enumerate(images.items()))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project"><Children>'
        f"{elements}</Children></Element></LMSDataContainerHeader>"
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml))
    content += xml.encode("utf-16-le")
    for k, (_, data) in enumerate(images.values()):
        name = f"MemBlock_{k}"
        head = struct.pack("<BQBI", 0x2A, data.nbytes, 0x2A, len(name))
        content += struct.pack("<II", 0x70, len(head) + 2 * len(name)) + head
        content += name.encode("utf-16-le") + data.tobytes()
    path.write_bytes(content)
    return path


def _lif_element(number: int, title: str, image: tuple[str, np.ndarray]) -> str:
    axes, data = image
    ids = {"x": 1, "y": 2, "z": 3, "t": 4, "m": 10}
    sizes = {"x": 2e-7, "y": 2e-7, "z": -5e-7}
    dimensions = channels = ""
    for axis, count, step in zip(axes, data.shape, data.strides, strict=True):
        if axis == "c":
            channels = "".join(_lif_channel(data, k * step) for k in range(count))
            continue
        dimensions += (
            f'<DimensionDescription DimID="{ids[axis]}" NumberOfElements="{count}" '
            f'Origin="0" Length="{sizes.get(axis, 1) * (count - 1)}" Unit="m" '
            f'BitInc="0" BytesInc="{step}"/>'
        )
    return (
        f'<Element Name="{title}"><Data><Image><ImageDescription><Channels>'
        f"{channels or _lif_channel(data, 0)}</Channels><Dimensions>{dimensions}"
        "</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{data.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )


def _lif_channel(data: np.ndarray, at: int) -> str:
    return (
        f'<ChannelDescription DataType="0" ChannelTag="0" '
        f'Resolution="{8 * data.dtype.itemsize}" NameOfMeasuredQuantity="" Min="0" '
        f'Max="1" Unit="" LUTName="" IsLUTInverted="0" BytesInc="{at}" BitInc="0"/>'
    )


def write_oif(path: Path, data: np.ndarray) -> Path:
    """Write axes c, z, y, x of 16 bits: settings, and a folder of planes beside them.

    Pixels are 0.2 µm, slices 500 nm apart.
    """
    settings = f"""[ProfileSaveInfo]
Name="a"
Version="1"
[Axis 3 Parameters Common]
AxisCode="Z"
MaxSize={data.shape[1]}
Interval=500.0
UnitName="nm"
[Reference Image Parameter]
ValidBitCounts=12
WidthConvertValue=0.2
WidthUnit="um"
HeightConvertValue=0.2
HeightUnit="um"
"""
    path.write_bytes(settings.replace("\n", "\r\n").encode("utf-16"))
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for c, z in np.ndindex(data.shape[:2]):
        name = f"s_C{c + 1:03d}Z{z + 1:03d}.tif"
        tifffile.imwrite(folder / name, data[c, z], photometric="minisblack")
        # the reference picture of each channel
        name = f"s_C{c + 1:03d}-R001.tif"
        tifffile.imwrite(folder / name, data[c, 0], photometric="minisblack")
    return path
