"""Whether another runtime computes the same."""

from __future__ import annotations

import torch
from torch import Tensor

from noise2noise.errors import UserError
from noise2noise.export.standalone import Standalone

TOLERANCE = 1e-5
"""How far results differ at most, on the scale on which white is 1 or of the largest value beyond,
where only the order of the sums is another."""

_WRONG = 1e-3  # beyond this it is not rounding, however deep the network and odd its weights

_SIZES = ((1, 4, 4), (2, 5, 3), (1, 3, 8))
"""Images, and their height and width in steps of what the network asks for, 8 pixels at least."""


def examples(model: Standalone) -> list[tuple[Tensor, ...]]:
    """Inputs of three sizes: noisy images, and for networks that are told it their noise."""
    generator = torch.Generator().manual_seed(0)
    step = model.needs.multiple * -(-8 // model.needs.multiple)
    found: list[tuple[Tensor, ...]] = []
    for count, rows, columns in _SIZES:
        shape = (count, model.needs.channels, rows * step, columns * step)
        image = 0.5 + 0.2 * torch.randn(shape, generator=generator)
        levels = (count, model.needs.levels, *shape[2:])
        noise = 0.1 + 0.1 * torch.rand(levels, generator=generator)
        found.append((image, noise)[: len(model.inputs)])
    return found


def agreement(graph: bytes, model: Standalone) -> float | None:
    """The largest difference between what onnxruntime makes of a graph, and what is computed here.

    None where onnxruntime isn't installed.

    Raises:
        UserError: onnxruntime can't run it, or computes something else.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    try:
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    except Exception as error:  # those of onnxruntime have no class of their own
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} can't run the graph; upgrade it, or choose an "
            "older --opset"
        ) from error
    worst = 0.0
    for inputs in examples(model):
        given = {name: x.numpy() for name, x in zip(model.inputs, inputs, strict=True)}
        theirs = torch.from_numpy(session.run(None, given)[0])
        ours = model.network.infer(*inputs)
        scale = max(1.0, float(ours.abs().max()))
        worst = max(worst, float((ours - theirs).abs().max()) / scale)
    if not worst <= _WRONG:
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} computes something else, with a difference of "
            f"{worst:.2g}; nothing was written"
        )
    return worst
