"""What gets installed: from a checkout, from a source distribution, with or without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("scikit_build_core", reason="the build backend is not installed")

ROOT = Path(__file__).resolve().parents[1]
BUILT = {".pyc", ".so"}


def build(kind: str, folder: Path, **environment: str) -> Path:
    """A package made of this checkout; `kind` is `sdist` or `wheel`."""
    code = f"from scikit_build_core import build; build.build_{kind}({str(folder)!r})"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    (package,) = folder.iterdir()
    return package


def files_of(*folders: str) -> set[str]:
    """The source files in these folders of the checkout, relative to it."""
    files = {path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {path.relative_to(ROOT).as_posix() for path in files if path.suffix not in BUILT}


def test_a_source_distribution_holds_all_that_a_build_needs(tmp_path: Path) -> None:
    package = build("sdist", tmp_path)
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = files_of("src", "native") | {"pyproject.toml", "README.md", "LICENSE"}
    assert needed - names == set()
    assert "native/CMakeLists.txt" in names
    assert not any(name.startswith("docs/images") for name in names)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
def test_without_a_compiler_everything_but_the_kernels_is_installed(tmp_path: Path) -> None:
    package = build("wheel", tmp_path, CXX="no-such-compiler")
    assert package.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(package) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {file.removeprefix("src/") for file in files_of("src")}
    assert "noise2noise/weights/photo.safetensors" in names
