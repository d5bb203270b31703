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
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from chainrule.module import Module, as_tuple


class GradientError(AssertionError):
    """A backward pass disagrees with the forward pass.

    Attributes:
        argument: "input", of several "input 0", "input 1", ..., or the parameter's name.
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
    """Check `module.back` at every entry of every input and parameter.

    Of the inputs, those of integers and the module's `constants` are left out.

    Works on a float64 copy; the module itself is not touched. Checks as well that a second backward
    pass doubles every `.grad`, and that inputs and gradients that are not contiguous in memory give
    the same result. Costs two forward passes for every entry: use small shapes, odd ones best, and
    `gradcheck_direction` for whole networks.

    Args:
        module: a layer, a network, or a loss.
        inputs: x, or several; for a loss prediction and target, which is a constant.
        step: h of the central difference.
        atol, rtol: allowed are differences up to atol + rtol * |central difference|.
        seed: of the random output gradient.

    Raises:
        TypeError: an input is no tensor, but a shape, say.
        GradientError: names the argument, the index and both values.
        TapeError: `back` returned nothing for an input.
        ValueError: it returned a gradient of another shape, or one alone for several inputs.
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
        for x in inputs:
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"expected tensors to check {type(module).__name__} with, got {x!r}; give it "
                    f"values, as torch.randn{x if isinstance(x, tuple) else '(1, 3, 8, 8)'}"
                )
        self.original = module
        self.module = copy.deepcopy(module).to(torch.float64)
        for each in self.module.modules():
            each.frozen = False  # a frozen layer's gradients are checked as well
        self.inputs = tuple(_double(x.detach().clone()) for x in inputs)
        places = [
            place
            for place, x in enumerate(self.inputs)
            if x.is_floating_point() and place not in module.constants
        ]
        self.checked = {f"input {place}" if len(places) > 1 else "input": place for place in places}
        self.generator = torch.Generator().manual_seed(seed)
        y = self.module.forward(*self.inputs)
        self.gy = _each(self._output_gradient, y)
        self.module.zero_grad()
        self.gradients = self._backward(self.inputs, self.gy)
        self._check_rules()

    def random_like(self, values: Tensor) -> Tensor:
        random = torch.empty(values.shape, dtype=torch.float64)
        return random.normal_(generator=self.generator).to(values.device)

    def arguments(self) -> Iterator[tuple[str, Tensor]]:
        yield from ((name, self.inputs[place]) for name, place in self.checked.items())
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
        y = self.module.pullback(*self.inputs)[0]
        pairs = zip(as_tuple(self.gy), as_tuple(y), strict=True)
        return sum(float((gy * each).sum()) for gy, each in pairs if gy is not None)

    def _output_gradient(self, y: Tensor) -> Tensor | None:
        return self.random_like(y) if y.is_floating_point() else None

    def _backward(self, inputs: tuple[Tensor, ...], gy: Any) -> dict[str, Tensor]:
        gx = self._by_place(self.module.pullback(*inputs)[1](gy))
        for place in self.checked.values():
            if gx[place].shape != inputs[place].shape:
                raise ValueError(
                    f"{type(self.original).__name__}: back returned a gradient of shape "
                    f"{tuple(gx[place].shape)} for an input of shape {tuple(inputs[place].shape)}"
                )
        by_input = {name: gx[place] for name, place in self.checked.items()}
        names = [name for name, _ in self.module.named_parameters()]
        gradients = [gradient.clone() for _, gradient in self.module.param()]
        return {**by_input, **dict(zip(names, gradients, strict=True))}

    def _by_place(self, gx: Any) -> dict[int, Tensor]:
        """The gradients that `back` returned, by the places of their inputs."""
        if isinstance(gx, tuple):
            return dict(enumerate(gx))
        if len(self.checked) > 1:
            raise ValueError(
                f"{type(self.original).__name__}: back returned one gradient for "
                f"{len(self.checked)} inputs; return a tuple with a place for each input, or name "
                "inputs without a gradient in the class attribute constants"
            )
        return dict(zip(self.checked.values(), (gx,), strict=False))

    def _check_rules(self) -> None:
        once = self.gradients
        twice = self._backward(self.inputs, self.gy)
        doubled = {
            name: value if name in self.checked else 2 * value for name, value in once.items()
        }
        self._check_equal(twice, doubled, "the rule that a second backward pass adds to .grad")
        self.module.zero_grad()
        strided = self._backward(tuple(map(_strided, self.inputs)), _each(_strided, self.gy))
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


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def _each(function: Callable[[Tensor], Any], values: Any) -> Any:
    """function(values), or of a tuple that of each; None stays."""
    if isinstance(values, tuple):
        return tuple(_each(function, value) for value in values)
    return None if values is None else function(values)


def _strided(values: Tensor) -> Tensor:
    """The same values with a gap after each in memory: NaN, the largest integer, or true."""
    gap: float | bool = True
    if values.dtype != torch.bool:
        gap = math.nan if values.is_floating_point() else torch.iinfo(values.dtype).max
    return torch.stack((values, torch.full_like(values, gap)), -1)[..., 0]
