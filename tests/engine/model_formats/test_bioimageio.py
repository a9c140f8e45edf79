from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import yaml

from engine.model_formats.opaque_models import Filter, filtered, script_of
from napari_unet.core.events import PredictionFinished
from napari_unet.core.images.grey_steps import Fixed, GreySteps, MinMax, ZScore
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.network.opaque import Opaque
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.model_formats.bioimageio.package import read, recognises
from napari_unet.engine.network.network import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.model import Model

SAMPLES = Path(__file__).parents[4] / "shared" / "samples" / "formats"
CPU = Prediction(device="cpu", precision="fp32")
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the sample packages are not here"
)


def made(model: Model, image: NDArray[np.float32] | Image) -> NDArray[np.float32]:
    *_, last = predict(model, image, settings=CPU)
    assert isinstance(last, PredictionFinished)
    return np.asarray(last.probabilities)


def network_of(model: Model) -> Opaque:
    network = model.card.architecture
    assert isinstance(network, Opaque)
    return network


def of_one_run(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the network once on an image (channels, y, x), in its grey values."""
    scale = measure(Image(image, "cyx"), 0, model.card.normalisation)
    return prepare(model, "cpu").of_patch(scale.apply(image))


@needs_samples
def test_a_network_of_the_zoo_gives_its_own_test_output() -> None:
    model = read(SAMPLES / "nuclei_broad")
    network = network_of(model)
    assert (network.smallest, network.growth) == ((512, 512), (0, 0))
    assert (network.lost, network.border) == ((0, 0), (32, 32))
    assert network.window == (448, 448)
    rule = GreySteps(steps=(ZScore(eps=1e-6),), each_slice=True)
    assert model.card.normalisation == rule
    assert [c.name for c in model.card.classes] == ["probability"]
    assert model.card.name == "nuclei_broad"
    test = np.load(SAMPLES / "nuclei_broad" / "test.npz")
    found = of_one_run(model, test["input"][0].astype(np.float32))
    inner = (slice(32, -32),) * 2
    np.testing.assert_allclose(found[1], test["output"][0, 0][inner], atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


@needs_samples
def test_a_network_without_padding_gives_its_own_test_output() -> None:
    model = read(SAMPLES / "bioimageio" / "bioimageio.yaml")
    network = network_of(model)
    assert (network.lost, network.border, network.step) == ((20, 20),) * 2 + ((4, 4),)
    assert model.card.spacing_um == (0.5, 0.5)
    assert [c.name for c in model.card.classes] == ["cell"]
    assert model.card.name == "bioimageio"
    test = [
        np.load(SAMPLES / "bioimageio" / f"test_{n}.npy") for n in ("input", "output")
    ]
    np.testing.assert_allclose(of_one_run(model, test[0][0]), test[1][0], atol=1e-5)


@needs_samples
def test_a_network_of_the_same_size_is_right_but_for_its_border() -> None:
    model = read(SAMPLES / "bioimageio_same")
    folder = SAMPLES / "bioimageio_same"
    test = [np.load(folder / f"test_{n}.npy") for n in ("input", "output")]
    inner = (..., *(slice(48, -48),) * 2)
    found = of_one_run(model, test[0][0])
    np.testing.assert_allclose(found, test[1][0][inner], atol=1e-5)
    # tiles of the mirrored image, of which the same pixels are the same
    whole = made(model, Image(test[0][0], "cyx"))
    np.testing.assert_allclose(whole[inner], test[1][0][inner], atol=1e-5)


@pytest.mark.parametrize("form", ["folder", "zip", "yaml"])
def test_a_package_is_read_in_each_form(tmp_path: Path, form: str) -> None:
    folder = write_package(tmp_path / "filter")
    path = {"folder": folder, "yaml": folder / "rdf.yaml", "zip": folder / "f.zip"}[
        form
    ]
    if form == "zip":
        path = zipped(folder)
    assert recognises(path)
    model = read(path)
    assert model.card.name == "filter"
    image = pixels()
    scaled = image.astype(float) - image.min()
    scaled /= scaled.max() + 1e-6
    expected = filtered(scaled.astype(np.float32))
    found = made(model, Image(image, "yx"))
    np.testing.assert_allclose(found[1], expected, atol=1e-5)


def test_a_folder_that_was_packed_whole_is_read(tmp_path: Path) -> None:
    """As systems pack one, with folders of their own beside it."""
    folder = write_package(tmp_path / "filter")
    path = tmp_path / "packed.zip"
    with ZipFile(path, "w") as file:
        for one in sorted(folder.iterdir()):
            file.write(one, f"filter/{one.name}")
        file.writestr("__MACOSX/._filter", b"")
    assert recognises(path)
    model, alone = read(path), read(folder)
    image = pixels()
    np.testing.assert_array_equal(made(model, image), made(alone, image))
    with ZipFile(path, "a") as file:
        file.writestr("other/rdf.yaml", b"")
    assert not recognises(path)  # which is meant is open


@pytest.mark.parametrize(
    ("yaml_name", "inside"),
    [("my.bioimageio.yaml", ""), ("rdf.yaml", "./"), ("model.yaml", "f\\")],
)
def test_names_in_a_zip_may_be_written_in_other_ways(
    tmp_path: Path, yaml_name: str, inside: str
) -> None:
    folder = write_package(tmp_path / "filter")
    text = yaml.safe_load((folder / "rdf.yaml").read_text())
    text["weights"]["torchscript"]["source"] = "./weights.pt"
    path = tmp_path / "packed.zip"
    with ZipFile(path, "w") as file:
        file.writestr(f"{inside}{yaml_name}", yaml.safe_dump(text))
        file.write(folder / "weights.pt", f"{inside}weights.pt")
        # the field's own library takes it last of all
        file.writestr(f"{inside}z.model.yaml", "format_version: 0.1")
    assert recognises(path)
    assert read(path).card.classes
    with ZipFile(path) as file:
        file.extractall(tmp_path / "out")
    if not inside:
        assert read(tmp_path / "out").card.classes


@pytest.mark.parametrize("version", [0.5, "0.5.0", "0.5.12"])
def test_a_format_may_be_named_without_its_last_number(
    tmp_path: Path, version: str | float
) -> None:
    folder = write_package(tmp_path / "filter")
    words = yaml.safe_load((folder / "rdf.yaml").read_text())
    words["format_version"] = version
    (folder / "rdf.yaml").write_text(yaml.safe_dump(words))
    assert read(folder).card.classes
    words["format_version"] = "0.50.1"
    (folder / "rdf.yaml").write_text(yaml.safe_dump(words))
    with pytest.raises(ValueError, match=r"format 0\.50\.1; 0\.4 and 0\.5 are read"):
        read(folder)


def test_old_lists_of_numbers_are_those_of_the_channels(tmp_path: Path) -> None:
    description = described_in_04()
    numbers = {"axes": "yx", "gain": [0.5], "offset": [3.0]}
    step = {"name": "scale_linear", "kwargs": numbers}
    description["inputs"][0]["preprocessing"] = [step]
    rule = read(write_package(tmp_path / "a", description)).card.normalisation
    assert isinstance(rule, GreySteps)
    assert rule.steps == (Fixed(mean=-6, sd=2, channels=(0,)),)


@pytest.mark.parametrize("mode", [{}, {"mode": "fixed"}])
def test_old_numbers_are_fixed_also_without_a_word(
    tmp_path: Path, mode: dict[str, str]
) -> None:
    description = described_in_04()
    kwargs = {"axes": "cyx", "mean": 6.0, "std": 2.0, **mode}
    step = {"name": "zero_mean_unit_variance", "kwargs": kwargs}
    description["inputs"][0]["preprocessing"] = [step]
    rule = read(write_package(tmp_path / "a", description)).card.normalisation
    assert isinstance(rule, GreySteps)
    assert rule.steps == (Fixed(mean=6, sd=2),)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("inputs", 0, "preprocessing", 0, "kwargs", "mode"), "per_hour"),
        (("outputs", 0, "shape", "scale", 1), float("inf")),
        (("outputs", 0, "shape", "scale", 2), 0),
    ],
)
def test_old_words_that_mean_nothing_are_refused(
    tmp_path: Path, path: tuple[Any, ...], value: object
) -> None:
    part: Any = described_in_04()
    description = part
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match="not described as format 0"):
        read(write_package(tmp_path / "a", description))


@pytest.mark.parametrize("axes", ["cyx", ["c", "y", "x"], ["channel", "y", "x"]])
def test_old_axes_may_be_letters_in_a_list(tmp_path: Path, axes: object) -> None:
    description = described_in_04()
    step = {"name": "zero_mean_unit_variance", "kwargs": {"axes": axes}}
    description["inputs"][0]["preprocessing"] = [step]
    rule = read(write_package(tmp_path / "a", description)).card.normalisation
    assert isinstance(rule, GreySteps)
    assert rule.steps == (ZScore(eps=1e-6, together=True),)


def test_a_network_of_planes_sees_each_slice_by_its_own_values(tmp_path: Path) -> None:
    model = read(write_package(tmp_path / "filter"))
    stack = np.stack([pixels(), 20 * pixels()[::-1] + 3])
    found = made(model, Image(stack, "zyx"))
    for z, plane in enumerate(stack):
        alone = made(model, Image(plane, "yx"))
        np.testing.assert_allclose(found[z], alone, atol=1e-6)


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    new = read(write_package(tmp_path / "filter"))
    old = read(write_package(tmp_path / "old" / "filter", old=True))
    names = [c.name for c in old.card.classes]
    assert names == ["channel 1"]
    assert old.card.replace(classes=new.card.classes) == new.card.replace(
        spacing_um=None
    )


def test_the_halo_and_the_offset_are_the_border(tmp_path: Path) -> None:
    description = described()
    for axis in description["outputs"][0]["axes"][2:]:
        axis["size"]["offset"] = -4
        axis["halo"] = 3
    description["inputs"][0]["axes"][2]["size"] = {"min": 13, "step": 1}
    description["inputs"][0]["axes"][3]["size"] = {"tensor_id": "raw", "axis_id": "y"}
    content = script_of(Filter(padded=False))
    network = network_of(read(write_package(tmp_path / "a", description, content)))
    assert (network.lost, network.border) == ((2, 2), (5, 5))
    assert (network.smallest, network.growth) == ((13, 13), (1, 1))


def test_channels_that_are_no_classes_are_an_image(tmp_path: Path) -> None:
    description = described()
    description["outputs"][0]["data"] = {"type": "float32"}
    description["outputs"][0]["postprocessing"] = [
        {"id": "scale_linear", "kwargs": {"gain": 3.0, "offset": -2}}
    ]
    model = read(write_package(tmp_path / "a", description))
    assert model.card.classes == ()
    assert model.card.training.task == "regress"
    assert any("gives an image" in note for note in model.card.notes)
    image = pixels()
    scaled = (image - image.min()) / (np.ptp(image) + 1e-6)
    found = made(model, Image(image, "yx"))
    np.testing.assert_allclose(found[0], 3 * filtered(scaled) - 2, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "steps", "classes"),
    [
        (["background", "a", "b"], [], ["a", "b"]),
        (["x", "y"], [{"id": "softmax", "kwargs": {"axis": "channel"}}], ["y"]),
        (["foreground", "boundary"], [{"id": "sigmoid"}], []),
        (["foreground", "boundary"], [], []),
        (["nucleus"], [], ["nucleus"]),
        (["nucleus"], [{"id": "sigmoid"}], ["nucleus"]),
    ],
)
def test_what_channels_mean(
    tmp_path: Path, names: list[str], steps: list[Any], classes: list[str]
) -> None:
    description = described()
    description["outputs"][0]["axes"][1]["channel_names"] = names
    description["outputs"][0]["postprocessing"] = steps
    model = read(write_package(tmp_path / "a", description))
    assert [c.name for c in model.card.classes] == classes
    assert (model.card.outputs is None) == bool(classes)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    description = described()
    description["outputs"].append({**described()["outputs"][0], "id": "flow"})
    del description["weights"]["torchscript"]["sha256"]
    description["inputs"][0]["preprocessing"][0]["kwargs"]["axes"].append("batch")
    for axis in description["outputs"][0]["axes"][2:]:
        del axis["halo"]
    notes = " ".join(read(write_package(tmp_path / "a", description)).card.notes)
    assert "of the bioimage.io package A filter runs as it is" in notes
    assert "windows of 256 × 256 pixels, blended, as the package says" in notes
    assert "1 more output left out: flow." in notes
    assert "measured on each frame, where the package has them" in notes
    assert "no checksum" in notes


def with_test(folder: Path, *, wrong: float = 0.0) -> dict[str, Any]:
    """Put a test beside a package of `Filter`; return its description."""
    folder.mkdir()
    given = pixels()[:40, :32]
    scaled = (given - given.min()) / (np.ptp(given) + 1e-6)
    expected = filtered(scaled) + wrong
    np.save(folder / "in.npy", given[None, None])
    np.save(folder / "out.npy", expected[None, None])
    description = described()
    description["inputs"][0]["test_tensor"] = {"source": "in.npy"}
    description["outputs"][0]["test_tensor"] = {"source": "out.npy"}
    return description


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_the_test_of_a_package_is_tried(tmp_path: Path, wrong: float) -> None:
    folder = tmp_path / "a"
    description = with_test(folder, wrong=wrong)
    note = read(write_package(folder, description)).card.notes[-1]
    if wrong:
        assert note.startswith("Take care: the test in the package does not come out")
        assert "differ by up to 0.1," in note
    else:
        assert note.startswith("The test in the package comes out to within ")
        assert float(note.split()[-1].rstrip(".")) < 1e-5


def test_a_package_without_its_test_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    description = with_test(folder)
    (folder / "in.npy").unlink()
    note = read(write_package(folder, description)).card.notes[-1]
    assert note == "It was not tried: the package has no test of it."


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([object()]), "in.npy is damaged"),
        (np.array(["a"]), "in.npy holds no numbers"),
        (np.zeros((3, 3)), "has the shape 3 × 3"),
        (np.zeros((1, 2, 40, 32)), "has 2 channels, its description 1"),
        (np.zeros((1, 1, 48, 32)), "gives 1 × 44 × 28 values .* says 1 × 36 × 28"),
    ],
)
def test_a_damaged_test_is_one_sentence(
    tmp_path: Path, array: NDArray[Any], said: str
) -> None:
    folder = tmp_path / "a"
    description = with_test(folder)
    np.save(folder / "in.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=said):
        read(write_package(folder, description))


def test_channels_that_the_test_has_not_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    description = with_test(folder)
    description["inputs"][0]["axes"][1]["channel_names"] = ["a", "b", "c"]
    with pytest.raises(ValueError, match="has 1 channels, its description 3"):
        read(write_package(folder, description))


BROKEN: dict[str, tuple[list[Any], str]] = {
    "another checksum": (["weights", "torchscript", "sha256", "0" * 64], "SHA-256 is"),
    "a name that leads out": (
        ["weights", "torchscript", "source", "../weights.pt"],
        "no name in a package",
    ),
    "an absolute name": (
        ["weights", "torchscript", "source", "/etc/passwd"],
        "no name",
    ),
    "an address": (
        ["weights", "torchscript", "source", "https://example.com/w.pt"],
        "nothing is fetched: get the whole package",
    ),
    "no such file": (["weights", "torchscript", "source", "w.pt"], "has no file w.pt"),
    "only Python code": (
        ["weights", {"pytorch_state_dict": {"source": "w.pt"}}],
        "Python code, which is not run",
    ),
    "no weights": (["weights", "torchscript", None], "alone run as they are\\.$"),
    "a newer format": (["format_version", "0.6.0"], "format 0.6.0; 0.4 and 0.5"),
    "no model": (["type", "dataset"], "should be 'model'"),
    "a size of another axis and more": (
        [
            *("inputs", 0, "axes", 3, "size"),
            {"tensor_id": "raw", "axis_id": "y", "offset": 4},
        ],
        "which sizes along x",
    ),
    "no sizes": (["inputs", 0, "axes", 2, "size", None], "which sizes along y"),
    "endless sizes": (["inputs", 0, "axes", 2, "size", 2**40], "less than or equal"),
    "axes of words": (["inputs", 0, "axes", 2, "id", "time"], "batch, channel, .z,. y"),
    "a larger output": (
        ["outputs", 0, "axes", 2, "size", "offset", 2],
        "not as many pixels",
    ),
    "an output of half the size": (
        ["outputs", 0, "axes", 2, "scale", 2],
        "not as many",
    ),
    "an uneven border": (
        ["outputs", 0, "axes", 2, "size", "offset", -3],
        "not as many",
    ),
    "an endless border": (["outputs", 0, "axes", 2, "halo", 500], "nothing is left"),
    "unknown grey values": (
        ["inputs", 0, "preprocessing", 0, "id", "magic"],
        "grey values need magic, which is not done here so",
    ),
    "grey values of each row": (
        ["inputs", 0, "preprocessing", 0, "kwargs", "axes", ["x"]],
        "measured for each place along y",
    ),
    "an unknown end": (
        ["outputs", 0, "postprocessing", [{"id": "stardist_postprocessing"}]],
        "needs stardist_postprocessing",
    ),
    "no channels": (["inputs", 0, "axes", 1, "channel_names", []], "raw has no chan"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_run_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, said = BROKEN[case]
    description = described()
    *path, last, value = change
    part = description
    for key in path:
        part = part[key]
    part[last] = value
    folder = write_package(tmp_path / "a", description)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=said) as found:
        read(folder)
    assert str(found.value).startswith(str(folder))
    assert "\n" not in str(found.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "names",
    [["scale_linear", "sigmoid"], ["sigmoid", "softmax"], ["sigmoid", "sigmoid"]],
)
def test_an_order_that_is_not_kept_is_refused(tmp_path: Path, names: list[str]) -> None:
    description = described()
    kwargs = {"scale_linear": {"gain": 2.0}}
    description["outputs"][0]["postprocessing"] = [
        {"id": name, "kwargs": kwargs.get(name, {})} for name in names
    ]
    with pytest.raises(ValueError, match=f"what comes out needs {names[1]}"):
        read(write_package(tmp_path / "a", description))


def test_two_images_at_once_are_refused(tmp_path: Path) -> None:
    description = described()
    description["inputs"] *= 2
    with pytest.raises(ValueError, match="takes 2 images at once"):
        read(write_package(tmp_path / "a", description))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no description of a model"),
        ("format_version: [", "is damaged"),
        ("[" * 2000, "nested too deep|is damaged"),
        ("a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
            for before, name in zip("abcdefg", "bcdefgh", strict=True)
        ), "more than 100000 values"),
        ("a: &a [*a]", "nested too deep|more than"),
        ("format_version: !!python/object/apply:os.system ['touch x']", "is damaged"),
        ("format_version: 0.5.4\ntype: model\ninputs: 3", "inputs"),
        ("format_version: 0.4.9\ntype: model\ninputs: 3\noutputs: 3", "not described"),
    ],
)  # fmt: skip
def test_a_hostile_yaml_is_one_sentence(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rdf.yaml").write_text(text)
    with pytest.raises(ValueError, match=said) as found:
        read(tmp_path)
    assert len(str(found.value)) < 1000
    assert [path.name for path in tmp_path.iterdir()] == ["rdf.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "a")
    (folder / "weights.pt").rename(tmp_path / "outside.pt")
    (folder / "weights.pt").symlink_to(tmp_path / "outside.pt")
    with pytest.raises(ValueError, match="no name in a package"):
        read(folder)


def test_a_broken_zip_is_one_sentence(tmp_path: Path) -> None:
    path = zipped(write_package(tmp_path / "a"))
    content = bytearray(path.read_bytes())
    middle = content.index(b"kernel") if b"kernel" in content else len(content) // 2
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        read(path)
    path.write_bytes(content[:-40])
    assert not recognises(path)


def test_other_files_are_none_of_them(tmp_path: Path) -> None:
    assert not recognises(tmp_path)
    (tmp_path / "notes.yaml").write_text("a: 1")
    assert not recognises(tmp_path / "notes.yaml")
    with ZipFile(tmp_path / "some.zip", "w") as file:
        file.writestr("a.roi", b"Iout")
    assert not recognises(tmp_path / "some.zip")


def pixels() -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(10, 90, (60, 45)).astype(np.float32)


def write_package(
    folder: Path,
    description: dict[str, Any] | None = None,
    content: bytes | None = None,
    *,
    old: bool = False,
) -> Path:
    """Write a package of `Filter`, or of another script."""
    folder.mkdir(parents=True, exist_ok=True)
    content = script_of(Filter(padded=True)) if content is None else content
    (folder / "weights.pt").write_bytes(content)
    if description is None:
        description = described_in_04() if old else described()
    weights = description["weights"].get("torchscript")
    if weights and weights.get("sha256") == "":
        weights["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    return folder


def zipped(folder: Path) -> Path:
    path = folder.parent / "zips" / f"{folder.name}.zip"
    path.parent.mkdir()
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        for name in ("rdf.yaml", "weights.pt"):
            file.write(folder / name, name)
    shutil.rmtree(folder)
    return path


def described() -> dict[str, Any]:
    space = [
        {"type": "space", "id": a, "size": {"min": 16, "step": 8}, "scale": 0.25}
        | {"unit": "micrometer"}
        for a in "yx"
    ]
    size = {a: {"tensor_id": "raw", "axis_id": a, "offset": 0} for a in "yx"}
    out = [{**axis, "halo": 2, "size": size[axis["id"]]} for axis in space]  # type: ignore[index]
    channel = {"type": "channel", "channel_names": ["cell"]}
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "A filter",
        "inputs": [
            {
                "id": "raw",
                "axes": [{"type": "batch"}, {**channel}, *space],
                "preprocessing": [
                    {"id": "scale_range", "kwargs": {"axes": ["y", "x"], "eps": 1e-6}},
                    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
                ],
            }
        ],
        "outputs": [
            {
                "id": "seen",
                "axes": [{"type": "batch"}, {**channel}, *out],
                "data": {"type": "float32", "range": [0.0, 1.0]},
            }
        ],
        "weights": {"torchscript": {"source": "weights.pt", "sha256": ""}},
    }


def described_in_04() -> dict[str, Any]:
    scale = {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "yx"}}
    reference = {"reference_tensor": "raw", "scale": [1.0, 0.0, 1.0, 1.0]}
    return {
        "format_version": "0.4.10",
        "type": "model",
        "name": "A filter",
        "inputs": [
            {
                "name": "raw",
                "axes": "bcyx",
                "shape": {"min": [1, 1, 16, 16], "step": [0, 0, 8, 8]},
                "preprocessing": [scale],
            }
        ],
        "outputs": [
            {
                "name": "seen",
                "axes": "bcyx",
                "shape": {**reference, "offset": [0.0, 0.5, 0.0, 0.0]},
                "halo": [0, 0, 2, 2],
                "data_range": [0, 1],
            }
        ],
        "weights": {"torchscript": {"source": "weights.pt", "sha256": ""}},
    }


def test_the_rule_is_the_same_in_both_formats(tmp_path: Path) -> None:
    for old in (False, True):
        model = read(write_package(tmp_path / str(old), old=old))
        rule = GreySteps(steps=(MinMax(eps=1e-6),), each_slice=True)
        assert model.card.normalisation == rule
