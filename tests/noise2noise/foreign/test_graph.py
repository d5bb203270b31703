"""ONNX graphs denoise here, and those that ask for too much don't."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.export import export, standalone
from noise2noise.noise import NoiseProfile

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def exported(make_model, tmp_path: Path, *arguments: str, **sizes: int) -> tuple[Path, Path]:
    own, path = make_model("own.safetensors", *arguments, **sizes), tmp_path / "model.onnx"
    export(standalone(own), path, "onnx")
    return own, path


def test_an_exported_model_denoises_as_the_model_that_it_was_made_of(make_model, tmp_path, picture):
    own, path = exported(make_model, tmp_path)
    ours, back = Denoiser.load(own), Denoiser.load(path)
    assert (back.info.title, back.info.noise) == ("a stand-in", "gaussian:25")
    assert back.info.parameters == ours.info.parameters
    assert back.channels == 3
    image = picture(45, 50, dtype="float32")
    np.testing.assert_allclose(back.denoise(image), ours.denoise(image), atol=1e-5)


def test_tiles_change_nothing_since_the_file_says_how_far_a_pixel_reaches(
    make_model, tmp_path, picture
):
    _, path = exported(make_model, tmp_path)
    denoiser = Denoiser.load(path)
    image = picture(150, 130, dtype="float32")
    np.testing.assert_allclose(denoiser.denoise(image, tile=80), denoiser.denoise(image), atol=1e-5)


def test_an_exported_model_is_told_the_noise(make_model, tmp_path, picture):
    own, path = exported(make_model, tmp_path, "guided", width=4, depth=1, blocks=1)
    ours, back = Denoiser.load(own), Denoiser.load(path)
    assert back.told
    image = picture(48, 64, dtype="float32")  # one tile, whose mean is that of the image
    noise = NoiseProfile(shot=(0.01,) * 3, read=(0.05,) * 3)
    expected = ours.denoise(image, noise=noise)
    # The image is extended by reflection, which moves the mean a little.
    np.testing.assert_allclose(back.denoise(image, noise=noise), expected, atol=2e-2)
    assert np.abs(back.denoise(image, noise=noise, strength=2) - expected).max() > 1e-3


def graph(
    nodes: list[Any],
    constants: dict[str, np.ndarray] | None = None,
    channels: tuple[int, ...] = (3,),
    outputs: tuple[str, ...] = ("y",),
    **metadata: str,
) -> Any:
    make = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "graph",
            [make(f"x{i}", 1, ["n", count, "h", "w"]) for i, count in enumerate(channels)],
            [make(name, 1, ["n", None, None, None]) for name in outputs],
            [onnx.numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.helper.set_model_props(model, metadata)
    return model


node = onnx.helper.make_node


def test_a_graph_of_another_program_is_taken(tmp_path, picture):
    (tmp_path / "half.onnx").write_bytes(
        graph(
            [node("Mul", ["x0", "half"], ["y"])], {"half": np.array(0.5, np.float32)}
        ).SerializeToString()
    )
    image = picture(30, 40, dtype="float32")
    clean = Denoiser.load(tmp_path / "half.onnx").denoise(image)
    np.testing.assert_allclose(clean, image / 2, atol=1e-6)


def external() -> Any:
    model = graph([node("Add", ["x0", "w"], ["y"])], {"w": np.zeros(1, np.float32)})
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    return model


def looping() -> Any:
    body = onnx.helper.make_graph(
        [node("Identity", ["c"], ["d"]), node("Identity", ["a"], ["b"])],
        "body",
        [
            onnx.helper.make_tensor_value_info("i", 7, []),
            onnx.helper.make_tensor_value_info("c", 9, []),
            onnx.helper.make_tensor_value_info("a", 1, None),
        ],
        [
            onnx.helper.make_tensor_value_info("d", 9, []),
            onnx.helper.make_tensor_value_info("b", 1, None),
        ],
    )
    return graph(
        [node("Loop", ["count", "", "x0"], ["y"], body=body)], {"count": np.array(2**60, np.int64)}
    )


def enlarging() -> Any:
    scales = np.array([1, 1, 2000, 2000], np.float32)
    return graph([node("Resize", ["x0", "", "s"], ["y"], mode="nearest")], {"s": scales})


def halving() -> Any:
    return graph([node("MaxPool", ["x0"], ["y"], kernel_shape=[2, 2], strides=[2, 2])])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (external, "lies in another file"),
        (looping, "operator :Loop is not taken"),
        (enlarging, "makes .* of 64 x 64 pixels"),
        (halving, r"output is \[1, 3, 32, 32\]"),
        (lambda: graph([node("Own", ["x0"], ["y"], domain="mine")]), "mine:Own is not taken"),
        (lambda: graph([node("Relu", ["x0"], ["y"])], channels=(2,)), "an image has 1 or 3"),
        (lambda: graph([node("Relu", ["x0"], ["y"])], channels=(3, 2)), "an image has 1 or 3"),
        (lambda: graph([node("Relu", ["x0"], ["y"])], channels=(1, 1, 1)), "it has 3 inputs"),
        (
            lambda: graph([node("Split", ["x0"], ["y", "z"], num_outputs=2)], outputs=("y", "z")),
            "2 outputs",
        ),
        (lambda: graph([node("Relu", ["x0"], ["y"])], multiple="9999"), "must lie in 1 to 256"),
        (lambda: graph([node("Relu", ["x0"], ["y"])], reach="-1"), "must lie in 0 to 1024"),
    ],
)
def test_a_graph_that_asks_for_too_much_is_refused(tmp_path, make: Callable[[], Any], sentence):
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(UserError, match=rf"can't be used as a model: .*{sentence}"):
        Denoiser.load(path)


def test_damage_is_a_sentence(make_model, tmp_path):
    _, path = exported(make_model, tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"model\.onnx can't be used as a model"):
        Denoiser.load(path)


def test_without_onnxruntime_a_sentence_says_what_to_install(make_model, tmp_path, monkeypatch):
    _, path = exported(make_model, tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"noise2noise\[export\]"):
        Denoiser.load(path)


def test_onnx_is_not_exported_again(make_model, tmp_path):
    _, path = exported(make_model, tmp_path)
    with pytest.raises(UserError, match="ONNX already"):
        standalone(path)
