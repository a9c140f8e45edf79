"""Write tests/io/two_scenes.czi with pylibCZIrw, the library of Zeiss (LGPL-3).

It is no dependency, not even of the tests: `pip install pylibCZIrw` somewhere, then
`python tests/make_czi.py`. Its own reader gave these pixels back when it was written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPE = (2, 2, 2, 2, 8, 10)  # scenes, then t, c, z, y, x
LEFT = 6  # columns of the first of two tiles; in scene 2 the other is 3 rows lower
LOWER = 3


def pixels() -> list[np.ndarray]:
    """Return what each scene shows; what no tile covers is 0."""
    data = np.arange(1, np.prod(SHAPE) + 1, dtype=np.uint16).reshape(SHAPE)
    second = np.zeros((*SHAPE[1:4], SHAPE[4] + LOWER, SHAPE[5]), np.uint16)
    second[..., :8, :LEFT] = data[1, ..., :LEFT]
    second[..., LOWER:, LEFT:] = data[1, ..., LEFT:]
    return [data[0], second]


def main() -> None:
    """Write the file, and check it."""
    from pylibCZIrw import czi

    path = Path(__file__).parent / "io" / "two_scenes.czi"
    path.unlink(missing_ok=True)
    data = np.arange(1, np.prod(SHAPE) + 1, dtype=np.uint16).reshape(SHAPE)
    with czi.create_czi(str(path), compression_options="uncompressed:") as file:
        for scene, t, c, z in np.ndindex(SHAPE[:4]):
            plane, where = data[scene, t, c, z], {"T": t, "C": c, "Z": z}
            x, y = 100 * scene - 20, 7
            for columns, at in (
                (slice(LEFT), (x, y)),
                (slice(LEFT, None), (x + LEFT, y + LOWER * scene)),
            ):
                tile = np.ascontiguousarray(plane[:, columns, np.newaxis])
                file.write(tile, plane=where, scene=scene, location=at)
        file.write_metadata("two scenes", scale_x=2e-7, scale_y=2e-7, scale_z=5e-7)
    with czi.open_czi(str(path)) as file:
        for scene, t, c, z in np.ndindex(SHAPE[:4]):
            found = file.read(plane={"T": t, "C": c, "Z": z}, scene=scene)[..., 0]
            np.testing.assert_array_equal(found, pixels()[scene][t, c, z])


if __name__ == "__main__":
    main()
