from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from example_labels import objects_of
from napari_unet.io.objects import ilastik

if TYPE_CHECKING:
    from pathlib import Path

h5py = pytest.importorskip("h5py")


def keys(dataset: object) -> list[tuple[str, int]]:
    tags = json.loads(dataset.attrs["axistags"])
    return [(axis["key"], axis["typeFlags"]) for axis in tags["axes"]]


def test_ids_have_a_channel_behind_their_axes(tmp_path: Path) -> None:
    labels = np.arange(24).reshape(2, 1, 3, 4) * 10**7
    path = tmp_path / "a_Object Identities.h5"
    ilastik.write(path, objects_of(labels, "tzyx"))
    with h5py.File(path) as file:
        assert list(file) == ["exported_data"]
        stored = file["exported_data"]
        assert stored.dtype == np.uint32
        np.testing.assert_array_equal(stored[..., 0], labels)
        assert keys(stored) == [("t", 8), ("z", 2), ("y", 2), ("x", 2), ("c", 1)]
        assert stored.attrs["element_size_um"].tolist() == [2.0, 0.5, 0.25]


def test_another_reader_of_hdf5_sees_the_same(tmp_path: Path) -> None:
    pyfive = pytest.importorskip("pyfive")
    labels = np.arange(2 * 300 * 400).reshape(2, 300, 400) * 10_000
    ilastik.write(tmp_path / "a.h5", objects_of(labels, "zyx"))
    with pyfive.File(str(tmp_path / "a.h5")) as file:
        stored = file["exported_data"]
        np.testing.assert_array_equal(stored[...][..., 0], labels)
        assert keys(stored) == [("z", 2), ("y", 2), ("x", 2), ("c", 1)]
        assert stored.attrs["element_size_um"].tolist() == [2.0, 0.5, 0.25]


# A limit on the size of a file makes the real write fail as a full disk does.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.io.objects import ilastik
noise = np.random.default_rng(0).integers(0, 2**31, (600, 600))
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
try:
    ilastik.write(Path(sys.argv[1]), Objects(Image(noise, "yx")))
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
def test_a_disk_that_takes_no_more_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(tmp_path.iterdir()) == []
    reason = f"{path}: cannot be written, the file is larger than the disk allows."
    assert done.stderr.splitlines() == [reason]
