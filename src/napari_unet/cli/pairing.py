"""Which file goes with which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.io.images import find

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def pair_files(
    first: Sequence[str | Path], second: Sequence[str | Path]
) -> list[tuple[Path, Path]]:
    """Pair files by name, or in their natural order where no name is in both.

    Parameters
    ----------
    first : sequence of str or Path
        Files, folders or patterns. Those without a partner of the same name are left
        out: not every image is annotated.
    second : sequence of str or Path
        Each of these needs a partner.

    Returns
    -------
    list of (Path, Path)

    Raises
    ------
    FileNotFoundError
        If a file, or any image in a folder, is not there.
    ValueError
        If they cannot be paired.
    """
    left, right = find(first), find(second)
    by_name = {file.stem: file for file in left}
    missing = [file.name for file in right if file.stem not in by_name]
    if not missing:
        return [(by_name[file.stem], file) for file in right]
    if len(missing) == len(right) == len(left):
        return list(zip(left, right, strict=True))
    raise ValueError(
        f"files are paired by name, or in order if all names differ and there are as "
        f"many; found {len(left)} and {len(right)} file(s), without a partner: "
        f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}."
    )
