"""A recurrent network that hears the beginning of a sine and goes on with it.

    python examples/sine.py           # goes on for 30 values, off by 0.06
    python examples/sine.py --twin    # with its twin in torch.nn beside it: the same curve

The waves are made on the spot, each of its own frequency and phase. The network reads 60 values and
learns to say the next one at every step; after the training it reads its own answers. These are a
little off, so what it learns from is a little off, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from beside import Batch, Curves, options, train, twin_step
from torch import Tensor, nn

from chainrule import GRU, MSE, AdamW, Linear, Module, Tape, one_cycle

RATE, DECAY, BATCH = 5e-3, 0.0, 32
HEARD, AHEAD, OFF = 60, 30, 0.1
"""Values that are read and that are said; standard deviation of what is added to those read."""


class Listener(Module):
    """y_t, the next value, of x_1 to x_t: (N, L, 1) to (N, L, 1)."""

    def __init__(self, size: int = 48) -> None:
        self.memory = GRU(1, size, batch_first=True)
        self.answer = Linear(size, 1)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return self.answer.run(self.memory.run(x, tape), tape)

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        gh = self.answer.back(gy, tape)
        assert gh is not None
        return self.memory.back(gh, tape)

    def go_on(self, x: Tensor, steps: int) -> Tensor:
        """So many values after x (N, L, 1), each answer read as the next input: (N, steps, 1)."""
        h, values = x.new_zeros(1, len(x), self.memory.hidden_size), []
        for _ in range(steps):
            y, h = self.memory.infer(x, h)
            x = self.answer.infer(y[:, -1:])
            values.append(x)
        return torch.cat(values, 1)


class Twin(nn.Module):
    """The same in torch.nn."""

    def __init__(self, size: int = 48) -> None:
        super().__init__()
        self.memory = nn.GRU(1, size, batch_first=True)
        self.answer = nn.Linear(size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.memory(x)[0])


def waves(count: int, length: int) -> Tensor:
    """(count, length, 1): periods of 12 to 24 values, each wave from a place of its own on."""
    period, phase = torch.rand(2, count, 1, 1)
    turns = torch.arange(length).reshape(1, -1, 1) / (12 + 12 * period) + phase
    return (2 * math.pi * turns).sin()


def batches(steps: int) -> Iterator[Batch]:
    for _ in range(steps):
        values = waves(BATCH, HEARD + 1)
        heard = values[:, :-1]
        yield heard + OFF * torch.randn_like(heard), values[:, 1:]


def main(arguments: Sequence[str] | None = None) -> Curves:
    steps, beside = options(__doc__ or "", 1200, arguments)
    torch.manual_seed(0)
    model, loss = Listener(), MSE()
    optimizer = AdamW(model.parameters(), weight_decay=DECAY)

    def step(batch: Batch, lr: float) -> Tensor:
        value = loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        model.backward(loss.backward(), input_gradient=False)
        optimizer.lr = lr
        optimizer.step()
        return value

    def objective(network: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.mse_loss(network(batch[0]), batch[1])

    theirs = twin_step(model, Twin, objective, DECAY) if beside else None
    curves = train(batches(steps), steps, one_cycle(RATE, steps), step, theirs)
    whole = waves(200, HEARD + AHEAD)
    error = (model.go_on(whole[:, :HEARD], AHEAD) - whole[:, HEARD:]).square().mean().sqrt()
    print(
        f"{AHEAD} values further: off by {error:.3f} (root mean square; the waves' is "
        f"{whole.square().mean().sqrt():.3f})"
    )
    return curves


if __name__ == "__main__":
    main()
