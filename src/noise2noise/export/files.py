"""The files of each format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chainrule.export import ExportError, save_torch, to_onnx
from chainrule.export.onnx import OPSET
from chainrule.serialization import replacing
from noise2noise.errors import UserError
from noise2noise.export.bioimageio import write_package
from noise2noise.export.comparison import agreement, examples
from noise2noise.export.standalone import Standalone


class Exported(NamedTuple):
    """What was written.

    Attributes:
        files: one or more.
        difference: between onnxruntime and what is computed here; None where it isn't installed, or
            where no graph was written.
    """

    files: list[Path]
    difference: float | None = None


class Format(NamedTuple):
    """One way to leave.

    Attributes:
        suffix: of its files.
        write: gets the model, the path, the opset, and whether it may replace what stands there.
    """

    suffix: str
    write: Callable[[Standalone, Path, int, bool], Exported]


def export(
    model: Standalone,
    path: str | Path,
    form: str,
    opset: int = OPSET,
    overwrite: bool = False,
) -> Exported:
    """Write the model in one of `FORMATS`.

    A graph is run in onnxruntime first, where that is installed, and must compute the same.

    Raises:
        UserError: the package that this needs isn't installed, there are such files already, the
            model has a layer that has no counterpart, or onnxruntime computes something else.
    """
    try:
        return FORMATS[form].write(model, Path(path), opset, overwrite)
    except (ExportError, FileExistsError, NotADirectoryError) as error:
        raise UserError(str(error)) from error


def format_of(path: str | Path) -> str:
    """The name of the format that a file's suffix stands for.

    Raises:
        UserError: none.
    """
    suffix = Path(path).suffix.lower()
    for name, form in FORMATS.items():
        if form.suffix == suffix:
            return name
    known = ", ".join(f"{form.suffix} ({name})" for name, form in FORMATS.items())
    raise UserError(f"the suffix {suffix!r} stands for no format; use {known}, or give --format")


def _graph(model: Standalone, opset: int) -> tuple[bytes, float | None]:
    """The model as an ONNX file, and how far onnxruntime differs."""
    proto = to_onnx(
        model.network,
        *(x.shape for x in examples(model)[0]),
        inputs=[*model.inputs],
        outputs=["denoised"],
        metadata=model.metadata(),
        opset=opset,
    )
    graph = proto.SerializeToString()
    return graph, agreement(graph, model)


def _onnx(model: Standalone, path: Path, opset: int, overwrite: bool) -> Exported:
    with replacing(path, overwrite) as temporary:
        graph, difference = _graph(model, opset)
        temporary.write_bytes(graph)
    return Exported([path], difference)


def _bioimageio(model: Standalone, path: Path, opset: int, overwrite: bool) -> Exported:
    with replacing(path, overwrite) as temporary:
        graph, difference = _graph(model, opset)
        write_package(temporary, model, graph, opset)
    return Exported([path], difference)


def _torch(model: Standalone, path: Path, opset: int, overwrite: bool) -> Exported:
    title = f"{model.info.title or model.info.name}. {_use(model)}"
    return Exported([*save_torch(path, model.bare, title, overwrite)])


def _use(model: Standalone) -> str:
    """What goes into the bare network."""
    sizes = f"height and width are multiples of {model.needs.multiple}"
    if len(model.inputs) == 1:
        return f"(N, {model.needs.channels}, H, W) in [0, 1] to the same; {sizes}."
    inputs = model.needs.channels + model.needs.levels
    given = f"(N, {inputs}, H, W) to (N, {model.needs.channels}, H, W)"
    if not model.needs.centred:
        return f"{given}: the image and the standard deviation of its noise; {sizes}."
    return (
        f"{given}: the image less its mean, and the standard deviation of the noise of each of its "
        f"channels; {sizes}. Add the mean to the result."
    )


FORMATS = {
    "onnx": Format(".onnx", _onnx),
    "bioimageio": Format(".zip", _bioimageio),
    "torch": Format(".pth", _torch),
}
