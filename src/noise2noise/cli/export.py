"""`noise2noise export`: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noise2noise.cli.common import OUT_FLAGS, OVERWRITE_OPTION, examples
from noise2noise.errors import UserError

_FORMATS = ("onnx", "bioimageio", "torch")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "export",
        epilog=examples(
            "noise2noise export photo -o photo.onnx",
            "noise2noise export runs/microscope -o microscope.zip",
            "noise2noise export grey -o grey.pth",
        ),
    )(export)


def export(
    model: Annotated[str, typer.Argument(help="A shipped model, a model file, or a run's folder.")],
    output: Annotated[Path, typer.Option(*OUT_FLAGS, help="The file to write.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"{', '.join(_FORMATS)}. By default what the suffix says: .onnx, .zip, .pth.",
            metavar="NAME",
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Of ONNX's operators, 20 to 28; by default 23.")
    ] = None,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
) -> None:
    """Write a model for other programs.

    ONNX for any runtime; a BioImage.IO package for ImageJ, ilastik, napari and others; or a state
    dict of torch.nn and the lines that build its network. An exported graph is run once in
    onnxruntime, where that is installed, and must compute the same.
    """
    from noise2noise import export as exports

    form = exports.format_of(output) if form is None else form
    if form not in exports.FORMATS:
        raise UserError(f"there is no format {form!r}; choose one of {', '.join(_FORMATS)}")
    given = {} if opset is None else {"opset": opset}
    standalone = exports.standalone(model)
    written = exports.export(standalone, output, form, overwrite=overwrite, **given)
    print(f"{model} -> {', '.join(str(path) for path in written.files)}  ({form})")
    if written.difference is not None:
        print(f"onnxruntime agrees within {written.difference:.1e}")
