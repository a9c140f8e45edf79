"""What the reference reader of OME-Zarr sees of labels that are written here.

By hand, as ome-zarr needs other versions of packages than we do: in an environment of
its own (`pip install "ome-zarr<0.19"`),

    python tests/judges/ome_zarr_labels.py cells_labels.ome.zarr image.zarr/labels/cells

prints the levels, the ids, and how many have a colour and properties.
"""

import sys

import numpy as np
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

for path in sys.argv[1:]:
    nodes = [node for node in Reader(parse_url(path))() if "color" in node.metadata]
    for node in nodes:
        levels = [(level.shape, str(level.dtype)) for level in node.data]
        ids = np.unique(np.asarray(node.data[0]))
        print(
            f"{path}: levels {levels}, ids {ids[:5]} … {ids[-1]} ({ids.size}), "
            f"sum {np.asarray(node.data[0]).sum(dtype=np.uint64)}, "
            f"{len(node.metadata['color'])} colours, "
            f"{len(node.metadata.get('properties', ()))} with properties, "
            f"first {next(iter(node.metadata.get('properties', {}).items()), None)}"
        )
