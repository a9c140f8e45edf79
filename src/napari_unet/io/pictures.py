"""Reading PNG, JPEG, GIF and BMP, complete, with the stored values.

PNG: https://www.w3.org/TR/png-3; markers of JPEG: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.io.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3  # colour types of PNG
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers of JPEG that have no length
_END = 0xD9
_EXIF = b"Exif\0\0"
ORIENTATION = 274  # the tag, of EXIF as of TIFF
# Several pictures in a JPEG: begin of their index, and the tag with their number.
_SEVERAL, _PICTURES = re.compile(rb"\xff\xe2..MPF\0", re.DOTALL), 0xB001

TURNED = (
    "it says that it is to be turned or mirrored to be shown: it is read as it is "
    "stored, as napari and ImageJ show it; labels need to be of the same orientation."
)


def read_png(path: Path) -> Pixels:
    """Read a PNG; with a palette, the indices and the palette."""
    import imagecodecs

    content = path.read_bytes()
    chunks = list(_chunks(content))
    # The header is checked by the decoder, so it may be short here.
    bits, colours = (*chunks[0][1][8:10], 0, 0)[:2] if chunks else (0, 0)
    if colours == _PALETTE:
        return _with_palette(chunks, bits)
    # Declared transparency becomes alpha, also of a single grey value.
    data = imagecodecs.png_decode(content)
    step = 255 // (2**bits - 1) if colours == _GREY and bits < 8 else 1
    if data.ndim == 2:
        return Pixels(data, "yx", notes=_notes(chunks), step=step)
    # Two samples are grey and alpha, four are RGB and alpha.
    alpha = 1 - data.shape[-1] % 2
    return Pixels(data, "yxs", notes=_notes(chunks), alpha=alpha, step=step)


def read_jpeg(path: Path) -> Pixels:
    """Read a JPEG; refuse a truncated one, as decoders fill the rest with grey."""
    import imagecodecs

    content = path.read_bytes()
    data = imagecodecs.jpeg_decode(content)
    if not _ends(content):
        raise ValueError("it is cut off, its end is missing")
    notes = _orientation_notes(content.partition(_EXIF)[2]) + _further(content)
    if data.ndim == 2:
        return Pixels(data, "yx", notes=notes, altered=True)
    foreign = "CMYK" if data.shape[-1] == 4 else ""
    return Pixels(data, "yxs", notes=notes, foreign=foreign, altered=True)


def read_gif_or_bmp(path: Path) -> Pixels:
    """Read a GIF or a BMP; the pictures of an animated GIF are times.

    Later pictures of a GIF often have but what changes, so they are read in colours.
    """
    from PIL import Image

    content = path.read_bytes()
    # a GIF that ends between two pictures would seem to have fewer
    if content.startswith(b"GIF") and not content.rstrip(b"\0").endswith(b";"):
        raise ValueError("it is cut off, its end is missing")
    with Image.open(BytesIO(content), formats=("GIF", "BMP")) as file:
        count = getattr(file, "n_frames", 1)
        if count > 1:
            pictures = []
            for number in range(count):
                file.seek(number)
                pictures.append(np.asarray(file.convert("RGB")))
            note = f"its {count} pictures are read as time points."
            return Pixels(np.stack(pictures), "tyxs", notes=(note,))
        file.load()
        data = np.asarray(file)
        if file.mode == "P":
            palette = np.array(file.getpalette("RGB"), np.uint8).reshape(-1, 3)
            clear = "transparency" in file.info
            notes = ("its transparency (alpha) is left out.",) if clear else ()
            return Pixels(data, "yx", palette=palette, notes=notes)
    return Pixels(data, "yx" + "s" * (data.ndim - 2), alpha=file.mode == "RGBA")


def _orientation_notes(exif: bytes) -> tuple[str, ...]:
    """Return a note if a camera says that a picture is to be rotated for display.

    EXIF has the layout of a TIFF. napari, ImageJ and Python show the pixels as stored,
    and so they are read; programs for photographs rotate them.
    """
    turned = _number_of(ORIENTATION, exif, "H")
    return () if turned < 2 else (TURNED,)  # 0 is no orientation


def _further(content: bytes) -> tuple[str, ...]:
    """Return a note on the other pictures of a file of several.

    CIPA DC-007: a segment APP2 has an index of them, with the layout of a TIFF. Cameras
    with two lenses, and phones, write such files.
    """
    found = _SEVERAL.search(content)
    pictures = _number_of(_PICTURES, content[found.end() :], "I") if found else 0
    if pictures < 2:
        return ()
    return (f"it holds {pictures} pictures: the first is read.",)


def _number_of(wanted: int, tiff: bytes, form: str) -> int:
    """Return the number of a tag of a TIFF's first directory; 0 if it is not there.

    `form` is that of the number, as `struct` has it.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    with suppress(struct.error):  # of one that is damaged
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, number = struct.unpack_from(f"{order}HHI{form}", tiff, entry)
            if tag == wanted:
                return int(number)
    return 0


def _with_palette(chunks: list[tuple[bytes, bytes]], bits: int) -> Pixels:
    import imagecodecs

    header = dict(chunks)[b"IHDR"]
    palette = np.frombuffer(dict(chunks).get(b"PLTE", b""), np.uint8)
    if palette.size == 0 or palette.size % 3:
        raise ValueError("its palette is damaged")
    # The same picture as grey: decoders return only colours, which two indices may
    # share.
    grey = [(b"IHDR", header[:9] + bytes([_GREY]) + header[10:])]
    grey += [chunk for chunk in chunks[1:] if chunk[0] in {b"IDAT", b"IEND"}]
    data = imagecodecs.png_decode(_SIGNATURE + b"".join(map(_written, grey)))
    notes = _notes(chunks)
    if any(name == b"tRNS" for name, _ in chunks):
        notes += ("its transparency (alpha) is left out.",)
    numbers = data // (255 // (2**bits - 1)) if bits < 8 else data
    return Pixels(numbers, "yx", palette=palette.reshape(-1, 3), notes=notes)


def _notes(chunks: list[tuple[bytes, bytes]]) -> tuple[str, ...]:
    animated = any(name == b"acTL" for name, _ in chunks)
    notes = ("it is animated: its first picture is read.",) if animated else ()
    return notes + _orientation_notes(dict(chunks).get(b"eXIf", b""))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and contents of the chunks of a PNG, as far as they are whole."""
    at = len(_SIGNATURE) if content.startswith(_SIGNATURE) else len(content)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += 12 + length


def _written(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return struct.pack(
        f">I4s{len(content)}sI", len(content), name, content, zlib.crc32(name + content)
    )


def _ends(content: bytes) -> bool:
    """Whether a JPEG has its end marker; previews in its header have their own."""
    at = 2
    while 0 <= (at := content.find(b"\xff", at)) < len(content) - 1:
        marker = content[at + 1]
        if marker == _END:
            return True
        if marker in {0x00, 0xFF} or marker in _ALONE:
            # in the pixels: an escaped byte, padding, or a restart
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False
