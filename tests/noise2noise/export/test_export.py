"""Models for other programs: they are run there, and must compute what they compute here."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule import gradcheck
from noise2noise import networks
from noise2noise.errors import UserError
from noise2noise.export import FORMATS, TOLERANCE, agreement, export, format_of, standalone
from noise2noise.export.comparison import examples
from noise2noise.export.standalone import Centre, Uncentre
from noise2noise.shipped import shipped_models

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

SIZES = {
    "guided": {"width": 4, "depth": 1, "blocks": 1},
    "unet": {"width": 4, "depth": 2},
    "dncnn": {"width": 4, "depth": 4},
    "ffdnet": {"width": 4, "depth": 4},
    "drunet": {"width": 2, "blocks": 1},
}


def assert_agrees(difference: float | None) -> None:
    assert difference is not None
    assert difference <= TOLERANCE


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_computes_the_same_in_onnxruntime_at_three_sizes(tmp_path, name):
    model = standalone(name)
    assert len({x[0].shape for x in examples(model)}) == 3
    path = tmp_path / "model.onnx"
    assert_agrees(export(model, path, "onnx").difference)
    assert_agrees(agreement(path.read_bytes(), model))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_every_network_computes_the_same_in_onnxruntime(make_model, tmp_path, name, channels):
    model = standalone(
        make_model("own.safetensors", name, channels=channels, **SIZES.get(name, {}))
    )
    assert_agrees(export(model, tmp_path / "model.onnx", "onnx").difference)


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_every_network_computes_the_same_in_torch(make_model, tmp_path, name):
    model = standalone(make_model("own.safetensors", name, **SIZES.get(name, {})))
    if name == "adapted":  # around its network are splines, which torch.nn has not
        with pytest.raises(UserError, match=r"can't be exported.*export it as ONNX"):
            export(model, tmp_path / "model.pth", "torch")
        return
    weights, code = export(model, tmp_path / "model.pth", "torch").files
    network = runpy.run_path(str(code))["build"]()
    network.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.cat(examples(model)[0], 1)
    with torch.no_grad():
        theirs, ours = network.eval()(x), model.bare.infer(x)
    assert_agrees(float((theirs - ours).abs().max() / ours.abs().max().clamp(min=1)))


def test_a_network_that_is_told_the_noise_takes_it_beside_the_image(make_model, tmp_path):
    model = standalone(make_model("own.safetensors", "guided", **SIZES["guided"]))
    export(model, tmp_path / "model.onnx", "onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == ["image", "noise"]
    image, noise = torch.rand(1, 3, 16, 24), torch.full((1, 3, 16, 24), 0.1)
    (theirs,) = session.run(None, {"image": image.numpy(), "noise": noise.numpy()})
    mean = image.mean()
    ours = model.bare.infer(torch.cat((image - mean, noise), 1)) + mean
    torch.testing.assert_close(torch.from_numpy(theirs), ours)


def test_what_takes_the_mean_away_and_puts_it_back_passes_gradcheck():
    gradcheck(Centre(), torch.randn(2, 3, 2, 3))
    gradcheck(Uncentre(), torch.randn(2, 3, 2, 3), torch.randn(2, 1, 1, 1))


def test_the_graph_says_what_it_is(make_model, tmp_path):
    export(standalone(make_model()), tmp_path / "model.onnx", "onnx")
    said = runtime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert (said["title"], said["noise"], said["licence"]) == ("a stand-in", "gaussian:25", "MIT")
    assert json.loads(said["sizes"])["width"] == 8
    assert (said["multiple"], said["reach"]) == ("4", "29")
    assert "0 is black" in said["image"]


def test_a_graph_that_computes_something_else_is_not_written(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("noise2noise.export.comparison._WRONG", 0.0)
    with pytest.raises(UserError, match="computes something else"):
        export(standalone(make_model("own.safetensors")), tmp_path / "model.onnx", "onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["own.safetensors"]


@pytest.mark.parametrize("name", [*shipped_models(), "drunet"])
def test_a_package_is_valid_and_runs(make_model, tmp_path, name):
    """Those of the shipped models, and of a network that is told one strength for all channels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of what it depends on
        core = pytest.importorskip("bioimageio.core")
        if name == "drunet":
            name = make_model("own.safetensors", "drunet", channels=1, **SIZES["drunet"])
        path = tmp_path / "model.zip"
        export(standalone(name), path, "bioimageio")
        report = core.test_model(path)
    assert report.status == "passed", report.format()


def test_a_package_says_whose_it_is_and_what_goes_in(make_model, tmp_path):
    model = standalone(make_model("own model.safetensors"))
    export(model, tmp_path / "model.zip", "bioimageio")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        said = json.loads(archive.read("bioimageio.yaml"))
        image = np.load(archive.open("test_image.npy"))
        clean = np.load(archive.open("test_denoised.npy"))
    assert said["license"] == "MIT"
    assert "Noise2Noise" in said["cite"][0]["text"]
    assert said["name"] == "noise2noise own model"
    sizes = [axis["size"] for axis in said["inputs"][0]["axes"] if axis["type"] == "space"]
    assert sizes == [{"min": 32, "step": 4}] * 2
    ours = model.network.infer(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(clean, ours)


def test_a_suffix_stands_for_a_format():
    assert [format_of(f"a{form.suffix}") for form in FORMATS.values()] == [*FORMATS]
    with pytest.raises(UserError, match=r"'\.png' stands for no format; use \.onnx"):
        format_of("a.png")


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_overwritten_unasked(make_model, tmp_path: Path, form):
    model = standalone(make_model("own.safetensors"))
    path = tmp_path / f"model{FORMATS[form].suffix}"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export(model, path, form)
    assert path.read_text() == "mine"
    assert export(model, path, form, overwrite=True).files[0] == path
    assert path.read_bytes() != b"mine"


def test_without_onnx_a_sentence_says_what_to_install(make_model, tmp_path, monkeypatch):
    model = standalone(make_model("own.safetensors"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"noise2noise\[export\]"):
        export(model, tmp_path / "model.onnx", "onnx")


def test_without_onnxruntime_the_graph_is_written_unchecked(make_model, tmp_path, monkeypatch):
    model = standalone(make_model("own.safetensors"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(model, tmp_path / "model.onnx", "onnx").difference is None
    assert (tmp_path / "model.onnx").stat().st_size > 0
