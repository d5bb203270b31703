"""Linear maps and tables of vectors. Gradients: docs/gradients.md#linear."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule import ops
from chainrule.initializers import initialize, uniform
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape, parameter


class Linear(Module):
    """y = x weight^T + bias, for every vector along the last dimension.

    Args:
        in_features: I, the size of each vector.
        out_features: O, the size of what it becomes.
        bias: whether there is a bias.

    Shapes:
        x (..., I) to y (..., O).

    Attributes:
        weight: (O, I), at first uniform in (-1/sqrt(I), 1/sqrt(I)).
        bias: (O,), likewise, or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.

    Example:
        >>> Linear(64, 10)(torch.zeros(16, 64)).shape
        torch.Size([16, 10])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        check_positive("Linear", in_features=in_features, out_features=out_features)
        self.weight = parameter(initialize(torch.empty(out_features, in_features), "normal"))
        self.bias = parameter(uniform(torch.empty(out_features), in_features)) if bias else None

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.linear(x, self.weight, self.bias)
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        if not self.frozen:
            gweight, gbias = ops.linear_parameter_grads(x, gy)
            tape.add(self.weight, gweight)
            if self.bias is not None:
                tape.add(self.bias, gbias)
        return ops.linear_input_grad(gy, self.weight) if tape.wants_gradient(x) else None

    def arguments(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """y[..., :] = weight[x[...], :]: a learned vector for each integer.

    Args:
        num_embeddings: K; the integers are 0 to K - 1.
        embedding_dim: E, the size of each vector.
        padding_idx: an integer whose vector begins at zero and never learns; below 0 it counts from
            the end.

    Shapes:
        x, of int64 or int32 and any shape, to y (*x.shape, E).

    Attributes:
        weight: (K, E), at first normal with mean 0 and standard deviation 1.

    Raises:
        TypeError: x is not of integers.
        ValueError: arguments out of range, or an integer of x outside of them.

    Example:
        >>> Embedding(256, 32)(torch.tensor([[104, 105]])).shape
        torch.Size([1, 2, 32])
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        check_positive("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx must lie in {-num_embeddings} to {num_embeddings - 1}, "
                f"got {padding_idx}"
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        weight = torch.empty(num_embeddings, embedding_dim)
        if not weight.is_meta:
            weight.normal_()
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight = parameter(weight)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.embedding(x, self.weight)
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> None:
        (x,) = tape.take(self)
        gweight = ops.embedding_grad(gy, x, self.weight.shape[0])
        if self.padding_idx is not None:
            gweight[self.padding_idx] = 0
        tape.add(self.weight, gweight)
        tape.wants_gradient(x)  # never: integers have no gradient

    def arguments(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}{padding}"
