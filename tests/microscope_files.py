"""Small files in the formats of microscopes, byte by byte.

No library that we may use writes these formats. What is written here is what their
published readers understand: this proves how we use the readers, and that of theirs
nothing is lost, but not that a microscope's own file is like these.
"""

from __future__ import annotations

import struct
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
        # the innermost first, as Leica's
        dimensions = (
            f'<DimensionDescription DimID="{ids[axis]}" NumberOfElements="{count}" '
            f'Origin="0" Length="{sizes.get(axis, 1) * (count - 1)}" Unit="m" '
            f'BitInc="0" BytesInc="{step}"/>{dimensions}'
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
    path.write_bytes(_settings(data))
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for name, content in _planes(data):
        (folder / name).write_bytes(content)
    return path


def write_oib(path: Path, data: np.ndarray) -> Path:
    """Write what `write_oif` does into one file, a compound document of Microsoft."""
    files = {"a.oif": _settings(data)}
    files |= {f"Storage00001/{name}": content for name, content in _planes(data)}
    streams = {f"Stream{k:05}": one for k, one in enumerate(files.items())}
    info = "[OibSaveInfo]\nName=a\nVersion=2.0.0.0\nMainFileName=Stream00000\n"
    info += "".join(f"{key}={name}\n" for key, (name, _) in streams.items())
    content = {key: part for key, (_, part) in streams.items()}
    path.write_bytes(_compound({"OibInfo.txt": _text(info), **content}))
    return path


def _settings(data: np.ndarray) -> bytes:
    return _text(f"""[ProfileSaveInfo]
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
""")


def _text(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-16")


def _planes(data: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Yield the planes, and the reference picture of each channel, as TIFF."""
    for c, z in np.ndindex(data.shape[:2]):
        for name, plane in ((f"Z{z + 1:03d}", data[c, z]), ("-R001", data[c, 0])):
            file = BytesIO()
            tifffile.imwrite(file, plane, photometric="minisblack")
            yield f"s_C{c + 1:03d}{name}.tif", file.getvalue()


def _compound(streams: Mapping[str, bytes]) -> bytes:
    """Lay streams, filled up to 4096 bytes, into sectors of 512 behind their table."""
    content = [one.ljust(4096, b"\0") for one in streams.values()]
    counts = [-(-len(one) // 512) for one in content]
    entries = -(-(len(streams) + 1) // 4)
    tables = -(-(entries + sum(counts) + 1) // 127)
    end, free, table = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
    starts = (tables + entries + np.cumsum([0, *counts])).tolist()
    chain = [table] * tables + [*range(tables + 1, tables + entries), end]
    for first, behind in pairwise(starts):
        chain += [*range(first + 1, behind), end]
    chain += [free] * (128 * tables - len(chain))

    def entry(
        name: str, kind: int, links: tuple[int, int], start: int, size: int
    ) -> bytes:
        text = name.encode("utf-16-le")
        head = struct.pack("<64sHBB", text, len(text) + 2, kind, 1)
        return head + struct.pack("<III36xIQ", free, *links, start, size)

    listed = [entry("Root Entry", 5, (free, 1), end, 0)]
    for k, (name, one) in enumerate(zip(streams, content, strict=True), start=1):
        following = k + 1 if k < len(streams) else free
        listed.append(entry(name, 2, (following, free), starts[k - 1], len(one)))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIII", 0, tables, tables, 0, 4096, end, 0, end, 0)
    head += struct.pack("<109I", *(*range(tables), *[free] * (109 - tables)))
    parts = [
        head,
        struct.pack(f"<{len(chain)}I", *chain),
        b"".join(listed).ljust(512 * entries, b"\0"),
        *(one.ljust(512 * n, b"\0") for one, n in zip(content, counts, strict=True)),
    ]
    return b"".join(parts)
