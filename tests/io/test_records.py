"""Nothing that a record says is trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from napari_unet.io.records import (
    inside,
    is_file_name,
    parse,
    private_folder,
    read_json,
)

if TYPE_CHECKING:
    from pathlib import Path

PATHS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/a",
    "a\\b",
    "C:a",
    "a\x00b",
    "a\nb",
    "a\x1b[2J",
    "é" * 111,
    "x" * 221,
]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_no_name(name: str, tmp_path: Path) -> None:
    assert not is_file_name(name)
    with pytest.raises(ValueError, match="the plain name of a file") as caught:
        inside(tmp_path, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a b.raw", "...", ".a", "Größe µ", "x" * 220])
def test_a_name_is_one(name: str, tmp_path: Path) -> None:
    assert is_file_name(name)
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.skipif(os.name == "nt", reason="has no such files")
@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "dangling"])
def test_only_files_are_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "y")
        if kind == "link":
            (tmp_path / "y").write_text("{}")
    for read in (read_json, lambda _: inside(tmp_path, "x.json")):
        with pytest.raises(ValueError, match=r"x\.json: is (a link|no file), and is"):
            read(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[1e300]",
        b'{"a": [{"b": -1e39}]}',
        b"[" + b"9" * 4000 + b"]",
        b"[" + b"9" * 5000 + b"]",
        b"[1e999]",
        b"[NaN]",
    ],
    ids=map(str, range(10)),
)
def test_what_is_no_json_is_one_short_sentence(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="is damaged") as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 300


def test_numbers_in_words_are_no_numbers() -> None:
    assert parse('{"1e300": "1e300", "a": [1e30, true]}', "x")["a"] == [1e30, True]


@pytest.mark.skipif(os.name == "nt", reason="has no such permissions")
def test_folders_are_made_for_one_person(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path / "a" / "b")
    private_folder(tmp_path / "a" / "b")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", ".")]
    assert modes == [0o700, 0o700, 0o755]
