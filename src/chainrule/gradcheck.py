"""Is a handwritten backward pass right? Compare it with central differences, in float64.

For a module f, fix a random output gradient gy and look at the number L = sum gy * f(x). What
`back` says is dL/dx and dL/dparameter; what the function itself says is

    dL/dv  ~  (L(v + h) - L(v - h)) / 2h,        error O(h^2) + O(epsilon / h),  h = 1e-6.

A random gy, never ones: ones hide errors that cancel in a sum. Keep inputs away from kinks (the 0
of a ReLU, ties in a maximum), where the difference quotient means nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.module import Module


class GradientError(AssertionError):
    """A backward pass disagrees with the forward pass.

    Attributes:
        argument: "input", or the parameter's name.
        index: where in it, or None when a direction through all of it was tried.
        analytic: what `back` says.
        numeric: what central differences (or the rule broken) say it should be.
    """

    def __init__(
        self,
        module: Module,
        argument: str,
        index: tuple[int, ...] | None,
        analytic: float,
        numeric: float,
        against: str = "central differences",
    ) -> None:
        self.argument, self.index, self.analytic, self.numeric = argument, index, analytic, numeric
        where = "along a random direction" if index is None else f"at index {index}"
        super().__init__(
            f"{type(module).__name__}: the gradient of {argument} {where} is {analytic:.9g} "
            f"by back, but {numeric:.9g} by {against}"
        )


def gradcheck(
    module: Module,
    *inputs: Tensor,
    step: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    seed: int = 0,
) -> None:
    """Check `module.back` at every entry of the input and of every parameter.

    Works on a float64 copy; the module itself is not touched. Checks as well that a second backward
    pass doubles every `.grad`, and that inputs and gradients that are not contiguous in memory give
    the same result. Costs two forward passes for every entry: use small shapes, odd ones best, and
    `gradcheck_direction` for whole networks.

    Args:
        module: a layer, a network, or a loss.
        inputs: x; for a loss prediction and target, of which the prediction is checked.
        step: h of the central difference.
        atol, rtol: allowed are differences up to atol + rtol * |central difference|.
        seed: of the random output gradient.

    Raises:
        GradientError: names the argument, the index and both values.
        TapeError: `back` returned nothing for the input.
        ValueError: it returned a gradient of another shape.
    """
    probe = _Probe(module, inputs, seed)
    for name, values in probe.arguments():
        for index in _indices(values):
            direction = torch.zeros_like(values)
            direction[index] = 1
            probe.check(name, direction, index, step, atol, rtol)


def gradcheck_direction(
    module: Module,
    *inputs: Tensor,
    step: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    seed: int = 0,
) -> None:
    """Check `module.back` along one random direction through the input and each parameter.

    Two forward passes per argument, however large: for whole networks. Arguments and errors as
    `gradcheck`.
    """
    probe = _Probe(module, inputs, seed)
    for name, values in probe.arguments():
        direction = probe.random_like(values)
        probe.check(name, direction / direction.norm(), None, step, atol, rtol)


class _Probe:
    """A float64 copy of the module, its inputs, a fixed random output gradient, and what `back`
    makes of it."""

    def __init__(self, module: Module, inputs: tuple[Tensor, ...], seed: int) -> None:
        self.original = module
        self.module = copy.deepcopy(module).to(torch.float64)
        self.inputs = tuple(x.detach().to(torch.float64, copy=True) for x in inputs)
        self.generator = torch.Generator().manual_seed(seed)
        self.gy = self.random_like(self.module.forward(*self.inputs))
        self.module.zero_grad()
        self.gradients = self._backward(self.inputs, self.gy)
        self._check_rules()

    def random_like(self, values: Tensor) -> Tensor:
        random = torch.empty(values.shape, dtype=torch.float64)
        return random.normal_(generator=self.generator).to(values.device)

    def arguments(self) -> Iterator[tuple[str, Tensor]]:
        yield "input", self.inputs[0]
        yield from self.module.named_parameters()

    def check(
        self,
        name: str,
        direction: Tensor,
        index: tuple[int, ...] | None,
        step: float,
        atol: float,
        rtol: float,
    ) -> None:
        gradient = self.gradients[name]
        analytic = float((gradient * direction).sum() if index is None else gradient[index])
        numeric = self._slope(dict(self.arguments())[name], direction, step)
        if not abs(analytic - numeric) <= atol + rtol * abs(numeric):
            raise GradientError(self.original, name, index, analytic, numeric)

    def _slope(self, values: Tensor, direction: Tensor, step: float) -> float:
        kept = values.clone()
        values.add_(direction, alpha=step)
        ahead = self._loss()
        values.copy_(kept).sub_(direction, alpha=step)
        behind = self._loss()
        values.copy_(kept)
        return (ahead - behind) / (2 * step)

    def _loss(self) -> float:
        return float((self.gy * self.module.pullback(*self.inputs)[0]).sum())

    def _backward(self, inputs: tuple[Tensor, ...], gy: Tensor) -> dict[str, Tensor]:
        gx = self.module.pullback(*inputs)[1](gy)
        if gx is None or gx.shape != inputs[0].shape:
            returned = "None" if gx is None else f"a gradient of shape {tuple(gx.shape)}"
            raise ValueError(
                f"{type(self.original).__name__}: back returned {returned} "
                f"for an input of shape {tuple(inputs[0].shape)}"
            )
        names = [name for name, _ in self.module.named_parameters()]
        gradients = [gradient.clone() for _, gradient in self.module.param()]
        return {"input": gx, **dict(zip(names, gradients, strict=True))}

    def _check_rules(self) -> None:
        once = self.gradients
        twice = self._backward(self.inputs, self.gy)
        doubled = {name: 2 * value for name, value in once.items()} | {"input": once["input"]}
        self._check_equal(twice, doubled, "the rule that a second backward pass adds to .grad")
        self.module.zero_grad()
        strided = self._backward(tuple(map(_strided, self.inputs)), _strided(self.gy))
        self._check_equal(strided, once, "the same pass on contiguous memory")

    def _check_equal(
        self, got: dict[str, Tensor], expected: dict[str, Tensor], against: str
    ) -> None:
        for name, values in expected.items():
            differs = ~torch.isclose(got[name], values, rtol=1e-9, atol=1e-12)
            if differs.any():
                index = tuple(differs.nonzero()[0].tolist())
                raise GradientError(
                    self.original,
                    name,
                    index,
                    float(got[name][index]),
                    float(values[index]),
                    against,
                )


def _indices(values: Tensor) -> Iterator[tuple[int, ...]]:
    for flat in range(math.prod(values.shape)):
        index = []
        for size in reversed(values.shape):
            flat, place = divmod(flat, size)
            index.append(place)
        yield tuple(reversed(index))


def _strided(values: Tensor) -> Tensor:
    """The same values with a gap after each in memory."""
    return torch.stack((values, torch.full_like(values, math.nan)), -1)[..., 0]
