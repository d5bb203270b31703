"""Attention. Gradient: docs/gradients.md#attention."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule import ops
from chainrule.initializers import xavier_uniform
from chainrule.layers.arguments import check_positive, check_probability
from chainrule.layers.linear import Linear
from chainrule.module import Module, Tape, parameter


class MultiHeadAttention(Module):
    """Every query reads a weighted mean of the values, weighted by how its key fits. Vaswani et al.
    2017. Also named `MultiheadAttention`, PyTorch's spelling.

    With q, k, v = linear maps of query, key and value, cut into heads of d = embed_dim / num_heads
    values each, a head is softmax(q k^T / sqrt(d) + mask) v, and the output a linear map of all
    heads side by side. The weights of a block of queries are held at a time, never all, and made
    again for the backward pass.

    Args:
        embed_dim: E.
        num_heads: divides E.
        dropout: the probability, in training, that a weight is 0; see `Dropout`. It keeps a truth
            value for each weight.
        bias: whether the linear maps have one.
        add_bias_kv, add_zero_attn: PyTorch's, by position; true is refused.
        kdim, vdim: sizes of the keys' and values' vectors, E by default.
        batch_first: whether the batch is the first dimension, not the second.
        causal: position i sees only positions 0 to i, as in a language model.

    Inputs:
        `attention(x)` looks from each position of x at the others;
        `attention(x, key_padding_mask)` not at those that are padding;
        `attention(query, key, value[, key_padding_mask[, attn_mask]])` is the general case.
        All return y alone; `attention.weights(...)` of the same inputs is what `torch.nn` returns
        beside it.

    Shapes, with batch_first; without it N is the second dimension of the first three:
        query (N, L, E), key (N, S, kdim), value (N, S, vdim) to y (N, L, E);
        key_padding_mask: bool (N, S), true for keys that nobody sees;
        attn_mask: (L, S) or (N * num_heads, L, S), bool, true where a query may not look, or floats
        that are added; it has no gradient.
        A query that may look nowhere reads zeros.

    Attributes:
        in_proj_weight: (3 E, E), for q, k and v, at first uniform in (-s, s), s = sqrt(6 / 4 E);
            with kdim or vdim q_proj_weight, k_proj_weight and v_proj_weight in its place.
        in_proj_bias: (3 E,), at first 0, or None.
        out_proj: the last linear map, its bias at first 0.

    Raises:
        TypeError, ValueError: arguments out of range, or inputs that don't fit.

    Example:
        >>> MultiHeadAttention(32, 4, batch_first=True, causal=True)(torch.zeros(2, 10, 32)).shape
        torch.Size([2, 10, 32])
    """

    constants: ClassVar[tuple[int, ...]] = (3, 4)  # the masks

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        causal: bool = False,
    ) -> None:
        name = "MultiHeadAttention"
        if add_bias_kv or add_zero_attn:
            raise ValueError(
                f"{name}: there is no add_bias_kv or add_zero_attn; append what every query may "
                "look at to key and value"
            )
        keys, values = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        check_positive(name, embed_dim=embed_dim, num_heads=num_heads, kdim=keys, vdim=values)
        check_probability(name, dropout)
        if embed_dim % num_heads:
            raise ValueError(f"{name}: num_heads={num_heads} must divide embed_dim={embed_dim}")
        self.num_heads, self.dropout = num_heads, dropout
        self.batch_first, self.causal = batch_first, causal
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        if self.out_proj.bias is not None:
            self.out_proj.bias.zero_()
        self.in_proj_weight: Tensor | None = None
        if keys == values == embed_dim:
            self.in_proj_weight = _learned(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight = _learned(embed_dim, embed_dim)
            self.k_proj_weight = _learned(embed_dim, keys)
            self.v_proj_weight = _learned(embed_dim, values)
        self.in_proj_bias = parameter(torch.zeros(3 * embed_dim)) if bias else None

    def run(self, *arguments: Any) -> Tensor:
        *given, tape = arguments
        inputs, padding, mask = self._checked(given)
        if len(inputs) == 1:
            q, k, v = ops.split(ops.linear(inputs[0], self._whole(), self.in_proj_bias), 3)
        else:
            q, k, v = (
                ops.linear(x, weight, bias)
                for x, (weight, bias) in zip(inputs, self._projections(), strict=True)
            )
        settings = (self.num_heads, padding, mask, self.causal, *self._dropout(q, k))
        y, logs = ops.attention(q, k, v, *settings)
        tape.push(self, given, q, k, v, y, logs, settings)
        return self._turned(self.out_proj.run(y, tape))

    def back(self, gy: Tensor, tape: Tape) -> Any:
        gheads = self.out_proj.back(self._turned(gy), tape)
        assert gheads is not None  # what it reads is no input of the network
        given, q, k, v, y, logs, settings = tape.take(self)
        gradients = ops.attention_grad(gheads, q, k, v, y, logs, *settings)
        if len(given) < 3:
            found = [self._back_together(gradients, given[0], tape)]
        else:
            found = self._back_apart(gradients, given, tape)
        gx = [None if each is None else self._turned(each) for each in found]
        return gx[0] if len(given) == 1 else (*gx, *[None] * (len(given) - len(gx)))

    def weights(self, *inputs: Tensor, average_attn_weights: bool = True) -> Tensor:
        """What each query reads of each value, without dropout: to look at, it has no gradient.

        Args:
            inputs: as those of the layer.
            average_attn_weights: the mean over the heads, or else each head's.

        Returns:
            (N, L, S), or (N, num_heads, L, S); the sum over S is 1, or 0 for a query that may look
            nowhere.
        """
        with torch.no_grad():
            given, padding, mask = self._checked([*inputs])
            three = given * 3 if len(given) == 1 else given
            pairs = zip(three[:2], self._projections()[:2], strict=True)
            q, k = (ops.linear(x, weight, bias) for x, (weight, bias) in pairs)
            n, sources, size = k.shape[0], k.shape[1], k.shape[2] // self.num_heads
            # Values that are 1 for one key each, as many at a time as a head has places.
            each = torch.eye(sources, -(-sources // size) * size, dtype=q.dtype, device=q.device)
            settings = (self.num_heads, padding, mask, self.causal)
            parts = [
                ops.attention(q, k, value.repeat(n, 1, self.num_heads), *settings)[0]
                for value in each.split(size, 1)
            ]
            by_head = [part.reshape(*q.shape[:2], self.num_heads, size) for part in parts]
            found = torch.cat(by_head, -1)[..., :sources].transpose(1, 2)
            return found.mean(1) if average_attn_weights else found

    def _checked(self, given: list[Tensor]) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """Query, key and value, or the one that is all three, batch first; and the two masks."""
        if len(given) not in (1, 2, 3, 4, 5):
            raise TypeError(
                "MultiHeadAttention: expected x, (x, key_padding_mask) or (query, key, value"
                f"[, key_padding_mask[, attn_mask]]), got {len(given)} inputs"
            )
        count = 1 if len(given) < 3 else 3
        sizes = [weight.shape[1] for weight, _ in self._projections()]
        if count == 1 and self.in_proj_weight is None:
            raise ValueError(
                f"MultiHeadAttention: with kdim={sizes[1]} and vdim={sizes[2]} give query, key and "
                "value"
            )
        for x, size, what in zip(given[:count], sizes, ("query", "key", "value"), strict=False):
            if x.dim() != 3 or x.shape[2] != size:
                axes = "N, L" if self.batch_first else "L, N"
                raise ValueError(
                    f"MultiHeadAttention: expected the {what} to be ({axes}, {size}), got "
                    f"{tuple(x.shape)}"
                )
        masks = [*given[count:], None, None]
        return [self._turned(x) for x in given[:count]], masks[0], masks[1]

    def _turned(self, x: Tensor) -> Tensor:
        """Batch and length in each other's place, where the batch isn't first."""
        return x if self.batch_first else ops.permute(x, (1, 0, 2))

    def _projections(self) -> list[tuple[Tensor, Tensor | None]]:
        """Weight and bias of q, k and v."""
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [*zip(weights, biases, strict=True)]

    def _dropout(self, q: Tensor, k: Tensor) -> tuple[Tensor | None, float]:
        if not self.training or self.dropout == 0:
            return None, 1.0
        shape = (q.shape[0], self.num_heads, q.shape[1], k.shape[1])
        keep = q.new_empty(shape, dtype=torch.bool).bernoulli_(1 - self.dropout)
        return keep, 1 / (1 - self.dropout) if self.dropout < 1 else 0.0

    def _back_together(self, gradients: tuple[Tensor, ...], x: Tensor, tape: Tape) -> Tensor | None:
        joined, weight = ops.split_grad([*gradients]), self._whole()
        gweight, gbias = ops.linear_parameter_grads(self._turned(x), joined)
        tape.add(weight, gweight)
        if self.in_proj_bias is not None:
            tape.add(self.in_proj_bias, gbias)
        return ops.linear_input_grad(joined, weight) if tape.wants_gradient(x) else None

    def _back_apart(
        self, gradients: tuple[Tensor, ...], given: list[Tensor], tape: Tape
    ) -> list[Tensor | None]:
        learned = [
            ops.linear_parameter_grads(self._turned(x), gradient)
            for x, gradient in zip(given, gradients, strict=False)
        ]
        if self.in_proj_weight is not None:
            tape.add(self.in_proj_weight, torch.cat([gweight for gweight, _ in learned]))
        else:
            for (weight, _), (gweight, _) in zip(self._projections(), learned, strict=True):
                tape.add(weight, gweight)
        if self.in_proj_bias is not None:
            tape.add(self.in_proj_bias, torch.cat([gbias for _, gbias in learned]))
        return [
            ops.linear_input_grad(gradient, weight) if tape.wants_gradient(x) else None
            for x, gradient, (weight, _) in zip(given, gradients, self._projections(), strict=False)
        ]

    def _whole(self) -> Tensor:
        """The one weight of all three, which self-attention has."""
        assert self.in_proj_weight is not None
        return self.in_proj_weight

    def arguments(self) -> str:
        embed_dim, *sizes = (weight.shape[1] for weight, _ in self._projections())
        shown = {
            "dropout": (self.dropout, 0),
            "bias": (self.in_proj_bias is not None, True),
            "kdim": (sizes[0], embed_dim),
            "vdim": (sizes[1], embed_dim),
            "batch_first": (self.batch_first, False),
            "causal": (self.causal, False),
        }
        given = [f", {name}={value}" for name, (value, usual) in shown.items() if value != usual]
        return f"{embed_dim}, {self.num_heads}" + "".join(given)


MultiheadAttention = MultiHeadAttention


def _learned(rows: int, columns: int) -> Tensor:
    return parameter(xavier_uniform(torch.empty(rows, columns)))
