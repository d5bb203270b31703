"""BioImage.IO packages come back, and others are refused."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.export import export, standalone
from noise2noise.foreign.package import MEMBER


@pytest.fixture
def package(make_model, tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "model.zip"
    export(standalone(make_model("own.safetensors")), path, "bioimageio")
    return path


def test_a_package_of_ours_denoises_as_the_model_that_it_was_made_of(package, tmp_path, picture):
    ours = Denoiser.load(tmp_path / "own.safetensors")
    back = Denoiser.load(package)
    assert (back.info.name, back.info.title) == (str(package), "a stand-in")
    image = picture(40, 50)
    np.testing.assert_array_equal(back.denoise(image), ours.denoise(image))


def rewritten(package, content: bytes, compression: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(package, "w", compression) as archive:
        archive.writestr(MEMBER, content)


def test_other_archives_are_refused(package):
    whole = zipfile.ZipFile(package).read(MEMBER)
    rewritten(package, bytes(10**7), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="is compressed"):
        Denoiser.load(package)
    rewritten(package, whole[:1000])
    with pytest.raises(UserError, match=rf"model.zip: {MEMBER} is not a whole safetensors file"):
        Denoiser.load(package)
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("model.onnx", b"")
    with pytest.raises(UserError, match="unpack another program's package"):
        Denoiser.load(package)
    package.write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged, or no package"):
        Denoiser.load(package)
