"""`noise2noise export`: a model for other programs."""

import pytest

pytest.importorskip("onnxruntime")


def test_it_says_what_it_wrote_and_how_far_onnxruntime_differs(done, make_model, tmp_path):
    path = tmp_path / "model.onnx"
    first, second = done("export", make_model(), "-o", path).splitlines()
    assert first.endswith(f"{path}  (onnx)")
    assert second.startswith("onnxruntime agrees within ")
    assert path.is_file()


def test_torch_is_two_files(done, make_model, tmp_path):
    model, weights, code = make_model(), tmp_path / "net.pth", tmp_path / "net.py"
    assert done("export", model, "-o", weights) == f"{model} -> {weights}, {code}  (torch)\n"
    assert weights.is_file()
    assert code.is_file()


def test_what_is_wrong_is_a_sentence(refused, make_model, tmp_path):
    model = make_model()
    assert "'.jpg' stands for no format" in refused("export", model, "-o", tmp_path / "a.jpg")
    assert "no format 'tf'" in refused("export", model, "-o", tmp_path / "a.zip", "--format", "tf")
    assert "20 to 28, got 3" in refused("export", model, "-o", tmp_path / "a.onnx", "--opset", 3)
    assert "exists already" in refused("export", model, "-o", model, "--format", "onnx")
