"""A BioImage.IO package: a zip with the model as ONNX, and all that its page in a zoo has to say.

https://bioimage.io, version 0.5 of the format. The description is JSON, which is YAML too. The
package also holds this package's own model file, so that `Denoiser.load` reads it.
"""

from __future__ import annotations

import io
import json
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.serialization import tensor_bytes
from noise2noise.export.comparison import examples
from noise2noise.export.standalone import LICENCE, Standalone
from noise2noise.foreign.package import MEMBER

FORMAT_VERSION = "0.5.4"

_AUTHORS = [{"name": "the noise2noise maintainers"}]

_CITATIONS = [
    {
        "text": "Lehtinen et al., Noise2Noise: Learning Image Restoration without Clean Data, 2018",
        "url": "https://arxiv.org/abs/1803.04189",
    },
    {
        "text": "Mohan et al., Robust and interpretable blind image denoising via bias-free "
        "convolutional neural networks, 2020",
        "url": "https://arxiv.org/abs/1906.05478",
    },
]


def write_package(path: Path, model: Standalone, graph: bytes, opset: int) -> None:
    """Write the package, with test tensors that were computed here.

    Arguments:
        path: of the zip.
        model: what it holds.
        graph: the model as an ONNX file.
        opset: of that.
    """
    inputs = examples(model)[0]
    tensors = dict(zip(model.inputs, inputs, strict=True))
    tensors["denoised"] = model.network.infer(*inputs)
    members = {
        "bioimageio.yaml": json.dumps(_description(model, opset), indent=2).encode(),
        "README.md": _page(model).encode(),
        "model.onnx": graph,
        MEMBER: _own_file(model),
    }
    for name, values in tensors.items():
        members[f"test_{name}.npy"] = _npy(values.numpy())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _description(model: Standalone, opset: int) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": _name(model),
        "description": _summary(model),
        "authors": _AUTHORS,
        "cite": _CITATIONS[: len(model.inputs)],
        "license": LICENCE,
        "documentation": "README.md",
        "tags": ["denoising", "image-restoration", "noise2noise", "2d"],
        "version": version("noise2noise"),
        "attachments": [{"source": MEMBER}],
        "inputs": [
            {
                "id": name,
                "description": text[:128],
                "axes": _axes(model, name),
                "test_tensor": {"source": f"test_{name}.npy"},
                "data": {"type": "float32"},
            }
            for name, text in model.inputs.items()
        ],
        "outputs": [
            {
                "id": "denoised",
                "description": model.output[:128],
                "axes": _axes(model, "denoised"),
                "test_tensor": {"source": "test_denoised.npy"},
                "data": {"type": "float32"},
            }
        ],
        "weights": {"onnx": {"source": "model.onnx", "opset_version": opset}},
    }


def _name(model: Standalone) -> str:
    """Letters, digits, and what else the format takes."""
    name = "".join(letter if letter.isalnum() else " " for letter in Path(model.info.name).stem)
    return " ".join(f"noise2noise {name}".split())[:128]


def _summary(model: Standalone) -> str:
    return (model.info.title or "An image denoiser that noise2noise trained")[:1024]


def _axes(model: Standalone, tensor: str) -> list[dict[str, Any]]:
    """Height and width of the image are free; those of the other tensors are the same."""
    least = examples(model)[0][0].shape[2]
    sizes: list[Any] = [{"min": least, "step": model.needs.multiple}] * 2
    if tensor != "image":
        sizes = [{"tensor_id": "image", "axis_id": axis} for axis in "yx"]
    count = model.needs.levels if tensor == "noise" else model.needs.channels
    names = ["red", "green", "blue"] if count == 3 else ["intensity"]
    return [
        {"type": "batch"},
        {"type": "channel", "channel_names": names},
        *(
            {"type": "space", "id": axis, "size": size}
            for axis, size in zip("yx", sizes, strict=True)
        ),
    ]


def _page(model: Standalone) -> str:
    lines = [
        f"# {_name(model)}",
        "",
        f"{_summary(model)}. Trained on: {model.info.noise or 'see its authors'}.",
        "",
        *(f"- `{name}`: {text}." for name, text in model.inputs.items()),
        f"- `denoised`: {model.output}.",
        "",
        f"Height and width are multiples of {model.needs.multiple}. A pixel is influenced by "
        f"others at most {model.needs.reach} pixels away: overlap tiles by as much.",
        "",
        "## Validation",
        "",
        "Compare with a mean of many shots of the same scene, or on images to which you have added "
        "noise of known strength. Look at the difference between an image and its result: it must "
        "look like noise, without edges and textures of what is in the picture.",
        "",
    ]
    return "\n".join(lines)


def _own_file(model: Standalone) -> bytes:
    metadata = {
        "architecture": model.info.architecture,
        "sizes": json.dumps(model.info.sizes),
        "title": model.info.title,
        "noise": model.info.noise,
    }
    return tensor_bytes(model.bare.state_dict(), metadata)


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
