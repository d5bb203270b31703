"""Layers that read a sequence step by step. Gradients: docs/gradients.md#recurrence."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from chainrule import ops
from chainrule.initializers import uniform
from chainrule.layers.arguments import check_positive, check_probability
from chainrule.module import Module, Tape, parameter
from chainrule.ops.checks import check_castable, check_float


class Weights(NamedTuple):
    """Of one layer in one direction."""

    inputs: Tensor
    state: Tensor
    inputs_bias: Tensor | None
    state_bias: Tensor | None


class Recurrent(Module):
    """What `LSTM` and `GRU` share: layers, directions, and the products that don't wait for a step.

    A subclass has the steps of one layer in one direction, `steps` and `steps_back`.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ...: (G * H, I), (G * H, H), (G * H,)
            and (G * H,) of each layer, the backward direction's ending in _reverse; all at first
            uniform in (-s, s), s = 1 / sqrt(H). Of layers after the first I is the width of y.
    """

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
    ) -> None:
        name = type(self).__name__
        if proj_size:
            raise ValueError(
                f"{name}: there is no proj_size, got {proj_size}; the state has the size of y, "
                "hidden_size"
            )
        check_positive(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_probability(name, dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        rows, width = self.gates * hidden_size, self._directions * hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else width
            shapes = [(rows, columns), (rows, hidden_size), *([(rows,)] * 2 if bias else [])]
            for names in self._names(layer):
                for each, shape in zip(names, shapes, strict=False):
                    setattr(self, each, parameter(uniform(torch.empty(shape), hidden_size)))

    def steps(
        self, sums: Tensor, state: list[Tensor], weights: Weights
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """y (T, N, H), the state after the last step, and what `steps_back` will need.

        Args:
            sums: (T, N, G * H), the inputs' part.
            state: (N, H) each, before the first step.
        """
        raise NotImplementedError

    def steps_back(
        self,
        gy: Tensor,
        gstate: list[Tensor | None],
        kept: tuple[Tensor, ...],
        state: list[Tensor],
        weights: Weights,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """dL/d(the inputs' part), dL/d(the state's part), and dL/dstate before the first step."""
        raise NotImplementedError

    def run(self, *arguments: Any) -> Any:
        x, *states, tape = arguments
        self._check(x, states)
        z = self._turned(x)
        kept: list[tuple[Any, ...]] = []
        last: list[list[Tensor]] = []
        given = [[*each] for each in states] or self._zeros(z)
        for layer in range(self.num_layers):
            keep = self._keep(z) if layer else None
            source = z if keep is None else ops.dropout(z, keep, self._scale())
            outputs: list[Tensor] = []
            for reverse, weights in enumerate(self._weights(layer)):
                state = [each[len(last)] for each in given]
                inputs = source.flip(0) if reverse else source
                sums = ops.linear(inputs, weights.inputs, weights.inputs_bias)
                y, after, needed = self.steps(sums, state, weights)
                kept.append((needed, y, state, source, keep))
                last.append(after)
                outputs.append(y.flip(0) if reverse else y)
            z = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        tape.push(self, x, kept, bool(states))
        y = self._turned(z)
        if not states:
            return y
        return y, *(torch.stack(each) for each in zip(*last, strict=True))

    def back(self, gy: Any, tape: Tape) -> Any:
        x, kept, with_states = tape.take(self)
        gy, *gstates = gy if with_states else (gy,)
        gz: Tensor | None = self._turned(gy)
        before: list[list[Tensor]] = []  # the last layer's first
        for layer in reversed(range(self.num_layers)):
            assert gz is not None  # only the first layer's inputs can be without a gradient
            records = kept[layer * self._directions : (layer + 1) * self._directions]
            parts, gz = gz.chunk(self._directions, 2), None
            begun: list[list[Tensor]] = []
            for reverse, weights in enumerate(self._weights(layer)):
                place = layer * self._directions + reverse
                last = [each[place] for each in gstates] or [None] * len(self.states)
                wanted = layer > 0 or tape.wants_gradient(x)
                gradient, first = self._back_one(
                    parts[reverse], last, records[reverse], weights, bool(reverse), tape, wanted
                )
                begun.append(first)
                if gradient is not None:
                    gz = gradient if gz is None else ops.add(gz, gradient)
            before = begun + before
            keep = records[0][4]
            if keep is not None and gz is not None:
                gz = ops.dropout(gz, keep, self._scale())
        gx = None if gz is None else self._turned(gz)
        if not with_states:
            return gx
        return gx, *(torch.stack(each) for each in zip(*before, strict=True))

    def _back_one(
        self,
        gy: Tensor,
        gstate: list[Tensor | None],
        record: tuple[Any, ...],
        weights: Weights,
        reverse: bool,
        tape: Tape,
        wanted: bool,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """One layer in one direction: adds its weights' gradients; those of input and state."""
        needed, y, state, source, _ = record
        gy = gy.flip(0) if reverse else gy
        gsums, ginner, before = self.steps_back(gy, gstate, (y, *needed), state, weights)
        inputs = source.flip(0) if reverse else source
        gweight, gbias = ops.linear_parameter_grads(inputs, gsums)
        tape.add(weights.inputs, gweight)
        previous = torch.cat((state[0][None], y[:-1]))
        gweight, inner_gbias = ops.linear_parameter_grads(previous, ginner)
        tape.add(weights.state, gweight)
        if weights.inputs_bias is not None and weights.state_bias is not None:
            tape.add(weights.inputs_bias, gbias)
            tape.add(weights.state_bias, inner_gbias)
        if not wanted:
            return None, before
        gx = ops.linear_input_grad(gsums, weights.inputs)
        return (gx.flip(0) if reverse else gx), before

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _names(self, layer: int) -> list[list[str]]:
        kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        ends = ["", "_reverse"] if self.bidirectional else [""]
        return [[f"{kind}_l{layer}{end}" for kind in kinds] for end in ends]

    def _weights(self, layer: int) -> list[Weights]:
        found = [[getattr(self, name) for name in names] for names in self._names(layer)]
        return [Weights(*each, *[None] * (4 - len(each))) for each in found]

    def _check(self, x: Tensor, states: list[Tensor]) -> None:
        name, axes = type(self).__name__, "N, L" if self.batch_first else "L, N"
        check_float(name, "input", x)
        if x.dim() != 3 or x.shape[2] != self.input_size or not x.numel():
            hint = "; add the batch dimension" if x.dim() == 2 else ""
            raise ValueError(
                f"{name}: expected ({axes}, {self.input_size}), got {tuple(x.shape)}{hint}"
            )
        if len(states) not in (0, len(self.states)):
            raise TypeError(
                f"{name}: expected x, or x with {' and '.join(self.states)}, got "
                f"{len(states) + 1} inputs"
            )
        layers = self.num_layers * self._directions
        expected = (layers, x.shape[0 if self.batch_first else 1], self.hidden_size)
        for what, state in zip(self.states, states, strict=False):
            if state.shape != expected:
                raise ValueError(
                    f"{name}: expected {what} to be {expected}, got {tuple(state.shape)}"
                )
            check_castable(name, x, **{what: state})

    def _turned(self, x: Tensor) -> Tensor:
        """Steps first, whatever comes first outside."""
        return ops.permute(x, (1, 0, 2)) if self.batch_first else x

    def _zeros(self, z: Tensor) -> list[list[Tensor]]:
        layers = self.num_layers * self._directions
        zeros = z.new_zeros(z.shape[1], self.hidden_size)
        return [[zeros] * layers for _ in self.states]

    def _keep(self, z: Tensor) -> Tensor | None:
        if not self.training or self.dropout == 0:
            return None
        return z.new_empty(z.shape, dtype=torch.bool).bernoulli_(1 - self.dropout)

    def _scale(self) -> float:
        return 1 / (1 - self.dropout) if self.dropout < 1 else 0.0

    def arguments(self) -> str:
        shown = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0),
            "bidirectional": (self.bidirectional, False),
        }
        given = [f", {name}={value}" for name, (value, usual) in shown.items() if value != usual]
        return f"{self.input_size}, {self.hidden_size}" + "".join(given)


class LSTM(Recurrent):
    """Long short-term memory. Hochreiter and Schmidhuber 1997; Gers et al. 2000.

    At each step, of a = W_ih x + b_ih + W_hh h + b_hh in four parts: i, f, o = sigmoid of theirs, g
    = tanh of its own; c = f * c + i * g;  h = o * tanh(c). The parts are in the order i, f, g, o.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: each reads the h of the one before.
        bias: whether there are biases.
        batch_first: whether the batch is the first dimension of x and y, not the second.
        dropout: the probability, in training, that a value between two layers is 0.
        bidirectional: whether a second set of weights reads the sequence from its end.
        proj_size: PyTorch's; anything but 0 is refused.

    Inputs:
        `lstm(x)` begins with zeros and returns y alone, so that a `Sequential` can go on with it;
        `lstm(x, h, c)` begins with these and returns (y, h, c), the state after the last step.

    Shapes:
        x (L, N, I), or (N, L, I) with batch_first, to y (L, N, D * H), D = 2 if bidirectional;
        h and c (num_layers * D, N, H), a layer's directions one after the other.

    Raises:
        TypeError, ValueError: arguments out of range, or inputs that don't fit.

    Example:
        >>> lstm = LSTM(3, 8, num_layers=2, batch_first=True)
        >>> state = torch.zeros(2, 2, 4, 8)
        >>> y, h, c = lstm(torch.zeros(4, 10, 3), *state)
        >>> y.shape, h.shape
        (torch.Size([4, 10, 8]), torch.Size([2, 4, 8]))
    """

    gates = 4
    states = ("h", "c")

    def steps(
        self, sums: Tensor, state: list[Tensor], weights: Weights
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        h, c = state
        y, cells, gates = ops.lstm(sums, h, c, weights.state, weights.state_bias)
        return y, [y[-1], cells[-1]], (cells, gates)

    def steps_back(
        self,
        gy: Tensor,
        gstate: list[Tensor | None],
        kept: tuple[Tensor, ...],
        state: list[Tensor],
        weights: Weights,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        (_, cells, gates), (last_gh, last_gc) = kept, gstate
        settings = (cells, gates, state[1], weights.state)
        gsums, gh, gc = ops.lstm_grad(gy, last_gh, last_gc, *settings)
        return gsums, gsums, [gh, gc]


class GRU(Recurrent):
    """Gated recurrent unit. Cho et al. 2014, in the form that PyTorch has.

    At each step r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh), n = tanh(W_in x + b_in + r * (W_hn h
    + b_hn)) and h = (1 - z) * n + z * h; the weights' parts are in the order r, z, n.

    Args and errors as `LSTM`.

    Inputs:
        `gru(x)` begins with zeros and returns y alone;
        `gru(x, h)` begins with h and returns (y, h).

    Shapes:
        as those of `LSTM`.
    """

    gates = 3
    states = ("h",)

    def steps(
        self, sums: Tensor, state: list[Tensor], weights: Weights
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        y, gates, inner = ops.gru(sums, state[0], weights.state, weights.state_bias)
        return y, [y[-1]], (gates, inner)

    def steps_back(
        self,
        gy: Tensor,
        gstate: list[Tensor | None],
        kept: tuple[Tensor, ...],
        state: list[Tensor],
        weights: Weights,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        y, gates, inner = kept
        gsums, ginner, gh = ops.gru_grad(gy, gstate[0], y, gates, inner, state[0], weights.state)
        return gsums, ginner, [gh]
