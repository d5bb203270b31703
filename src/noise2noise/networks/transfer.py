"""Beginning a network with the weights of another."""

from __future__ import annotations

from torch import Size, Tensor

from chainrule import Conv2d, ConvTranspose2d, Module
from noise2noise.errors import UserError


def copy_weights(source: Module, target: Module) -> None:
    """Begin `target` with the weights of `source`, a network of the same architecture and sizes.

    `target` may also be the grey version of a colour network. It then does to a grey image what
    `source` does to three equal channels: weights are summed over the colours of the input and
    averaged over those of the output.

    Raises:
        UserError: the networks differ in more than that; `target` is unchanged.
    """
    weights: dict[str, Tensor] = {}
    wanted = dict(target.named_modules())
    for prefix, module in source.named_modules():
        for name in ("weight", "bias"):
            own, its = getattr(module, name, None), getattr(wanted.get(prefix), name, None)
            if own is not None and its is not None:
                weights[f"{prefix}.{name}"] = _without_colour(module, own, its.shape)
    try:
        target.load_state_dict({**source.state_dict(), **weights})
    except ValueError as error:
        raise UserError(f"these weights are of another network: {error}") from error


def _without_colour(module: Module, values: Tensor, shape: Size) -> Tensor:
    """Where `values` has 3 entries and `shape` 1, sum over the input's and average the output's."""
    inputs = {Conv2d: 1, ConvTranspose2d: 0}.get(type(module)) if values.dim() == 4 else None
    for axis, size in enumerate(shape):
        if values.dim() == len(shape) and (values.shape[axis], size) == (3, 1):
            values = values.sum(axis, True) if axis == inputs else values.mean(axis, keepdim=True)
    return values
