"""BioImage.IO packages that `noise2noise export` wrote: they hold our own model file."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from chainrule import Module
from noise2noise.errors import UserError
from noise2noise.model_file import read_model
from noise2noise.model_info import ModelInfo

MEMBER = "noise2noise.safetensors"
"""The model file inside the package."""


def read_package(path: Path, name: str) -> tuple[Module, ModelInfo]:
    """The network in a package, and what is known of it.

    Raises:
        UserError: the file is damaged, or no such package.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, MEMBER)
        copy.write_bytes(_member(path))
        try:
            network, info = read_model(copy, name)
        except UserError as error:
            raise UserError(f"{path}: {str(error).replace(str(copy), MEMBER)}") from error
    return network, replace(info, name=name)


def _member(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(MEMBER)
            # An entry of zeros would unpack to a thousand times its bytes.
            if entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= path.stat().st_size:
                return archive.read(entry)
    except KeyError:
        raise UserError(
            f"{path} holds no {MEMBER}, which noise2noise export writes; unpack another program's "
            "package, and use its .onnx file"
        ) from None
    except Exception as error:  # a damaged archive can make the reader fail in any way
        raise UserError(f"{path} is damaged, or no package of a model; export it again") from error
    raise UserError(f"{path} is compressed, which noise2noise export never does; export it again")
