"""Files with several images: each is named, and none is taken in silence."""

from __future__ import annotations

from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.io.images import find, read_image, read_labels

if TYPE_CHECKING:
    from pathlib import Path

PLANE = np.arange(4 * 5, dtype=np.uint16).reshape(4, 5)


def positions(path: Path, *planes: np.ndarray, **options: Any) -> Path:
    with tifffile.TiffWriter(path, **options) as writer:
        for k, plane in enumerate(planes):
            metadata = {"Name": f"pos {k}"} if options.get("ome") else None
            writer.write(plane, metadata=metadata, contiguous=False)
    return path


def plate(path: Path, wells: tuple[str, ...] = ("A/1", "B/2")) -> Path:
    root = zarr.create_group(path, zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": well} for well in wells]}
    for k, well in enumerate(wells):
        group = root.create_group(well)
        group.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in range(2):
            multiscale(group.create_group(str(field)), PLANE + 10 * k + field)
    return path


def multiscale(group: Any, *arrays: np.ndarray) -> None:
    group.attrs["multiscales"] = [
        {"axes": ["y", "x"], "datasets": [{"path": str(k)}]} for k in range(len(arrays))
    ]
    for k, array in enumerate(arrays):
        group.create_array(str(k), data=array)


def test_positions_are_listed_and_each_is_read_by_its_number(tmp_path: Path) -> None:
    path = positions(tmp_path / "a.ome.tif", PLANE, PLANE + 1, PLANE + 2, ome=True)
    with pytest.raises(
        ValueError,
        match=r"a\.ome\.tif: it holds 3 images: #1 'pos 0' \(4 × 5, uint16\), #2 .*"
        r"name one, as in a\.ome\.tif#2, or all with a\.ome\.tif#\*\.$",
    ):
        read_image(path)
    found = find([f"{path}#*"])
    assert [f.name for f in found] == ["a.ome.tif#1", "a.ome.tif#2", "a.ome.tif#3"]
    for k, file in enumerate(found):
        image = read_image(file)
        assert image.name == f"a#{k + 1}"
        np.testing.assert_array_equal(image.data, PLANE + k)
    assert find([f"{path}#2"]) == found[1:2]
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=rf"#{wrong}: there is no image #{wrong}"):
            read_image(f"{path}#{wrong}")


def test_each_position_has_its_own_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for size in (0.5, 0.2):
            writer.write(PLANE, metadata={"PhysicalSizeX": size, "PhysicalSizeY": size})
    assert read_image(f"{path}#1").spacing_um == (0.5, 0.5)
    assert read_image(f"{path}#2").spacing_um == (0.2, 0.2)


@pytest.mark.parametrize(
    "others",
    [
        (PLANE[:2], PLANE, PLANE),  # a preview on the first page
        (PLANE, PLANE.astype(np.uint8)),
        (PLANE, PLANE[:, :3], PLANE),
    ],
)
def test_pages_that_differ_are_several_images(
    tmp_path: Path, others: tuple[np.ndarray, ...]
) -> None:
    path = positions(tmp_path / "a.tif", *others)
    with pytest.raises(ValueError, match=r"a\.tif: it holds 2 images: #1 .* #2"):
        read_image(path)
    assert read_image(f"{path}#1").data.shape[-1] == others[0].shape[-1]


@pytest.mark.parametrize("described", [True, False])
def test_appended_planes_are_a_stack_and_appended_stacks_are_not(
    tmp_path: Path, described: bool
) -> None:
    options = {"photometric": "minisblack"} | ({} if described else {"metadata": None})
    for k in range(3):
        tifffile.imwrite(tmp_path / "a.tif", PLANE + k, append=True, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data, [PLANE, PLANE + 1, PLANE + 2])
    if described:
        for _ in range(2):
            stack = np.stack([PLANE, PLANE])
            tifffile.imwrite(tmp_path / "b.tif", stack, append=True, **options)
        with pytest.raises(ValueError, match="it holds 2 images: "):
            read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("at", [0, 1])
def test_a_page_marked_as_reduced_is_no_image(tmp_path: Path, at: int) -> None:
    pages = [(PLANE, 0)]
    pages.insert(at, (PLANE[:2], 1))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, kind in pages:
            writer.write(page, subfiletype=kind, metadata=None)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, PLANE)
    assert "1 image in it is marked as reduced" in image.notes[0]


@pytest.mark.parametrize("ome", [True, False])
def test_the_levels_of_a_pyramid_are_one_image(tmp_path: Path, ome: bool) -> None:
    large = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=ome) as writer:
        writer.write(large, subifds=1)
        writer.write(large[::2, ::2], subfiletype=1)
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.data, large)
    assert image.notes == ()


def test_labels_of_a_slide_are_listed_and_its_thumbnail_is_none(tmp_path: Path) -> None:
    slide = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    maker = "Aperio Image Library v1\n"
    size = "64x64 [0,0 64x64] (16x16) RGB|MPP = 0.5"
    tiles: dict[str, Any] = {"tile": (16, 16), "description": maker + size}
    pages: list[tuple[np.ndarray, dict[str, Any]]] = [
        (slide, tiles),
        (slide[::4, ::4], {"description": maker}),
        (slide[::2, ::2], tiles),
        (slide[:9, :8], {"description": maker + "label 8x9", "subfiletype": 1}),
    ]
    for name, kept in (("a.tif", 4), ("b.tif", 3)):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for data, options in pages[:kept]:
                writer.write(data, metadata=None, photometric="rgb", **options)
    with pytest.raises(ValueError, match=r"2 images: #1 'Baseline' .*, #2 'Label'"):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "b.tif")
    assert image.data.shape == (64, 64, 3)
    assert "1 image in it is marked as reduced" in image.notes[0]


def ome_set(folder: Path, count: int, named: int | None = None) -> list[Path]:
    """Write a time series of one file for each frame."""
    names = [f"t{k}.ome.tif" for k in range(named or count)]
    data = "".join(
        f'<TiffData FirstT="{k}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{k:08}-0000-0000-0000-000000000000</UUID>'
        "</TiffData>"
        for k, name in enumerate(names)
    )
    for k in range(count):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{k:08}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="5" '
            f'SizeY="4" SizeC="1" SizeZ="1" SizeT="{len(names)}">'
            '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / names[k], PLANE + k, description=xml, metadata=None)
    return [folder / name for name in names[:count]]


def test_the_files_of_a_set_are_one_image(tmp_path: Path) -> None:
    files = ome_set(tmp_path, 3)
    tifffile.imwrite(tmp_path / "u.ome.tif", PLANE, ome=True)
    assert find([tmp_path]) == [files[0], tmp_path / "u.ome.tif"]
    assert find([files[2], files[0]]) == [files[0]]
    assert find([files[2], files[1]]) == [files[2]]
    for file in files:
        image = read_image(file)
        assert image.axes == "tyx"
        np.testing.assert_array_equal(image.data, [PLANE, PLANE + 1, PLANE + 2])
        assert "one of 3 files of one image" in image.notes[0]


def test_a_set_with_a_missing_file_is_refused(tmp_path: Path) -> None:
    files = ome_set(tmp_path, 2, named=4)
    with pytest.raises(
        ValueError, match=r"t0\.ome\.tif: .* 4 files .* t2\.ome\.tif and 1 more are not"
    ):
        read_image(files[0])


def other_positions(folder: Path, count: int, frames: int = 1) -> list[Path]:
    """Write positions as Micro-Manager does: one file each, and each tells of all."""
    names = [f"s_Pos{k}.ome.tif" for k in range(count)]
    images = "".join(
        f'<Image ID="Image:{k}" Name="Pos{k}"><Pixels ID="Pixels:{k}" SizeX="5" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeY="4" SizeC="1" SizeZ="1" '
        f'SizeT="{frames}"><Channel ID="Channel:{k}:0" SamplesPerPixel="1"/>'
        f'<TiffData IFD="0" PlaneCount="{frames}"><UUID FileName="{name}">'
        f"urn:uuid:{k:08}-0000-0000-0000-000000000000</UUID></TiffData></Pixels></Image>"
        for k, name in enumerate(names)
    )
    for k, name in enumerate(names):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{k:08}-0000-0000-0000-000000000000">{images}</OME>'
        )
        planes = np.stack([PLANE + 10 * k + t for t in range(frames)])
        tifffile.imwrite(
            folder / name,
            planes,
            description=xml,
            metadata=None,
            photometric="minisblack",
        )
    return [folder / name for name in names]


@pytest.mark.parametrize("frames", [1, 3])
def test_positions_in_files_of_their_own(tmp_path: Path, frames: int) -> None:
    files = other_positions(tmp_path, 3, frames)
    expected = np.squeeze([PLANE + t for t in range(frames)])
    for file in files:
        with pytest.raises(ValueError, match=r"it holds 3 images: #1 'Pos0'"):
            read_image(file)
        for k in range(3):  # also what is in another file than the one that is named
            image = read_image(f"{file}#{k + 1}")
            np.testing.assert_array_equal(image.data, expected + 10 * k)
    files[0].unlink()
    files[1].unlink()
    alone = read_image(files[2])
    np.testing.assert_array_equal(alone.data, expected + 20)
    assert "tells of 3 images, of which 2 are in files that are not" in alone.notes[0]
    renamed = read_image(files[2].rename(tmp_path / "mine.ome.tif"))
    np.testing.assert_array_equal(renamed.data, expected + 20)


@pytest.mark.parametrize("told", [2, 4])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_pages_that_the_description_does_not_tell_of_are_read(
    tmp_path: Path, kind: str, told: int
) -> None:
    pages = np.stack([PLANE + k for k in range(5)])
    described = {
        "imagej": f"ImageJ=1.53\nimages={told}\nframes={told}\n",
        "ome": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
        'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="5" SizeY="4" SizeC="1" SizeZ="1" SizeT="{told}">'
        f'<TiffData IFD="0" PlaneCount="{told}"/></Pixels></Image></OME>',
    }[kind]
    tifffile.imwrite(
        tmp_path / "a.tif",
        pages,
        description=described,
        metadata=None,
        photometric="minisblack",
    )
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, pages)
    assert "tells of other pages than there are" in image.notes[0]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif", "tyx").data, pages)


@pytest.mark.parametrize("page", [1, 3, 5])
def test_a_page_whose_tags_are_lost_is_refused(tmp_path: Path, page: int) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for k in range(6):
            writer.write(PLANE + k, metadata=None, compression="packbits")
    with tifffile.TiffFile(path) as file:
        at = file.pages[page].offset
    content = bytearray(path.read_bytes())
    content[at + 2 : at + 2 + 12 * 10] = bytes(120)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tif: "):
        read_image(path)


def test_planes_that_are_told_of_and_not_there_are_refused(tmp_path: Path) -> None:
    frames = np.stack([PLANE] * 2)
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata={"axes": "TYX"})
    content = (tmp_path / "a.ome.tif").read_bytes()
    assert b'SizeT="2"' in content
    (tmp_path / "a.ome.tif").write_bytes(content.replace(b'SizeT="2"', b'SizeT="9"'))
    with pytest.raises(ValueError, match="7 of the 9 planes that it tells of are not"):
        read_image(tmp_path / "a.ome.tif")


def test_a_file_that_refers_to_its_description_is_refused(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="m.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANE, description=xml, metadata=None)
    with pytest.raises(ValueError, match=r"a part of the image that m\.companion\.ome"):
        read_image(tmp_path / "a.ome.tif")


def test_fields_of_a_plate_have_names(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr")
    with pytest.raises(
        ValueError,
        match=r"p\.zarr: it holds a plate with 2 wells: p\.zarr/A/1/0, p\.zarr/A/1/1, "
        r"p\.zarr/B/2/0, .*; name one, or all with p\.zarr#\*\.$",
    ):
        read_image(path)
    with pytest.raises(ValueError, match=r"2 images: p\.zarr/A/1/0, p\.zarr/A/1/1;"):
        read_image(path / "A" / "1")
    fields = [path / f for f in ("A/1/0", "A/1/1", "B/2/0", "B/2/1")]
    assert find([f"{path}#*"]) == fields
    assert find([f"{path}/*/*/*"]) == fields
    assert find([f"{path}#3"]) == fields[2:3]
    image = read_image(fields[3])
    assert image.name == "p_B_2_1"
    np.testing.assert_array_equal(np.asarray(image.data), PLANE + 11)
    assert find([tmp_path]) == [path]  # refused when it is read


@pytest.mark.parametrize("gone", ["B/2", "A/1"])
def test_a_well_that_is_told_of_and_not_there_is_named_and_others_are_read(
    tmp_path: Path, gone: str
) -> None:
    path = plate(tmp_path / "p.zarr")
    rmtree(path / gone)
    found = find([f"{path}#*"])
    assert len(found) == 3
    for file in found:
        if file == path / gone:
            with pytest.raises(FileNotFoundError, match=f"p.zarr/{gone}: there is no"):
                read_image(file)
        else:
            assert read_image(file).axes == "yx"
    with pytest.raises(ValueError, match="holds a plate with 2 wells"):
        read_image(path)
    assert len(find([f"{path}/*/*/*"])) == 2


def test_labels_alone_in_a_folder_are_named(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    multiscale(root.create_group("labels/cells"), PLANE)
    for file in (tmp_path / "a.zarr", tmp_path / "a.zarr" / "labels"):
        with pytest.raises(
            ValueError, match=r"1 image: a\.zarr/labels/cells; name that"
        ):
            read_labels(file)
    assert find([tmp_path / "a.zarr#*"]) == [tmp_path / "a.zarr" / "labels" / "cells"]


@pytest.mark.parametrize("listed", [True, False])
def test_images_of_a_converter_are_listed_and_one_alone_is_read(
    tmp_path: Path, listed: bool
) -> None:
    for count in (1, 2):
        root = zarr.create_group(tmp_path / f"{count}.zarr", zarr_format=2)
        root.attrs["bioformats2raw.layout"] = 3
        for k in range(count):
            multiscale(root.create_group(str(k)), PLANE + k)
        if listed:
            root.create_group("OME").attrs["series"] = [str(k) for k in range(count)]
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "1.zarr").data), PLANE
    )
    with pytest.raises(ValueError, match=r"it holds 2 images: 2\.zarr/0, 2\.zarr/1;"):
        read_image(tmp_path / "2.zarr")
    second = read_labels(tmp_path / "2.zarr" / "1")
    np.testing.assert_array_equal(np.asarray(second.data), PLANE + 1)


def test_images_that_share_a_folder_have_numbers(tmp_path: Path) -> None:
    multiscale(zarr.create_group(tmp_path / "a.zarr", zarr_format=2), PLANE, PLANE + 1)
    with pytest.raises(ValueError, match=r"2 images: a\.zarr#1, a\.zarr#2;"):
        read_image(tmp_path / "a.zarr")
    found = find([f"{tmp_path / 'a.zarr'}#*"])
    assert [np.asarray(read_image(f).data)[0, 0] for f in found] == [0, 1]


def test_arrays_of_any_group_are_named(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "a.zarr")
    root.create_array("raw", data=PLANE)
    root.create_array("gt", data=PLANE)
    with pytest.raises(ValueError, match=r"2 images: a\.zarr/gt, a\.zarr/raw;"):
        read_image(tmp_path / "a.zarr")
    assert read_image(tmp_path / "a.zarr" / "gt").name == "a_gt"


def test_a_file_of_one_image_has_no_second(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    assert find([f"{tmp_path}/*.tif#*"]) == [tmp_path / "a.tif"]
    with pytest.raises(ValueError, match=r"no image #2 in it, it holds 1 image: #1"):
        read_image(tmp_path / "a.tif#2")
    with pytest.raises(FileNotFoundError, match=r"b\.tif: there is no such file"):
        find([tmp_path / "b.tif#2"])


def test_a_stack_that_lost_a_page_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Programs that delete pages leave what the first one says of all."""
    planes = np.arange(4 * 9 * 9, dtype=np.uint16).reshape(4, 9, 9)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(planes[:3]):
            text = '{"shape": [4, 9, 9]}' if number == 0 else None
            file.write(plane, description=text, metadata=None, compression="zlib")
    image = read_image(path)
    np.testing.assert_array_equal(image.data, planes[:3])
    assert "tells of other pages than there are" in image.notes[0]
