"""How many values of a microscope file other libraries read otherwise than we do.

By hand, as they need other versions of packages than we do. First with ours,

    python -c "import numpy, sys; from napari_unet.io.images import read_image;
    numpy.save(sys.argv[2], read_image(sys.argv[1]).data)" FILE OURS.npy

then in an environment of its own (`pip install nd2reader readlif olefile tifffile
"numpy<2"`)

    python tests/judges/microscopes.py FILE OURS.npy

prints the shape, how many values differ, and the pixel size that the library tells.
"""

import io
import sys
from pathlib import Path

import numpy as np


def nd2(path):
    """Read time points, slices and channels of Nikon's ND2."""
    from nd2reader import ND2Reader

    file = ND2Reader(path)
    sizes = [file.sizes.get(axis, 1) for axis in "tzc"]
    planes = [file.get_frame_2D(c=c, t=t, z=z) for t, z, c in np.ndindex(*sizes)]
    return planes, file.metadata["pixel_microns"]


def lif(path):
    """Read time points, channels and slices of the first image of Leica's LIF."""
    from readlif.reader import LifFile

    image = LifFile(path).get_image(0)
    sizes = image.dims.t, image.channels, image.dims.z
    planes = [image.get_frame(c=c, t=t, z=z) for t, c, z in np.ndindex(*sizes)]
    return planes, 1 / image.scale[0]


def oib(path):
    """Read the TIFFs in Olympus's OIB, in the order of their names."""
    import olefile
    import tifffile

    file = olefile.OleFileIO(path)
    names = file.openstream("OibInfo.txt").read().decode("utf-16").splitlines()
    name_of = dict(line.split("=", 1) for line in names if "=" in line)
    parts = {name_of.get(n[-1], ""): file.openstream(n).read() for n in file.listdir()}
    tiffs = {n: data for n, data in sorted(parts.items()) if data[:2] in (b"II", b"MM")}
    planes = [tifffile.imread(io.BytesIO(data)) for data in tiffs.values()]
    usual = max(plane.size for plane in planes)
    return [plane for plane in planes if plane.size == usual], "not read"


file, ours = sys.argv[1:]
found, size = {".nd2": nd2, ".lif": lif, ".oib": oib}[Path(file).suffix](file)
expected = np.load(ours)
wrong = int((np.asarray(found).reshape(expected.shape) != expected).sum())
print(f"{file}: {expected.shape}, {wrong} values differ, {size} µm")
