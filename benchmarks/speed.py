"""How long a training step takes, here and with `torch.nn` on the same network.

Forward, loss, backward and optimizer step, timed in turn in one process; medians over the rounds.

    .venv/bin/python benchmarks/speed.py
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule import MSE, SGD, Module
from noise2noise.architectures import build


def torch_zhao(width: int = 48) -> nn.Module:
    """The network "zhao" with torch.nn."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width, 3, 2, 1, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 3, 3, 2, 1, 1),
        nn.Sigmoid(),
    )


class TorchMerySkip(nn.Module):
    """The network "mery-skip" with torch.nn."""

    def __init__(self, width: int = 100) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)
        self.t_conv1 = nn.ConvTranspose2d(width, width, 3)
        self.t_conv2 = nn.ConvTranspose2d(2 * width, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x).relu()
        decoded = self.t_conv1(self.conv2(first).relu()).relu()
        return self.t_conv2(torch.cat((first, decoded), 1)).sigmoid()


def our_step(model: Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """One training step with chainrule."""
    loss, optimizer = MSE(), SGD(model.param(), lr=0.01, momentum=0.9)

    def step() -> None:
        model.zero_grad()
        loss.forward(model.forward(x), y)
        model.backward(loss.backward(), input_gradient=False)
        optimizer.step()

    return step


def torch_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """The same with torch.nn, autograd and torch.optim."""
    loss, optimizer = nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step


def milliseconds(steps: list[Callable[[], None]], rounds: int) -> list[float]:
    """The median time of each of `steps`, which take turns."""
    times: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step()
    for _ in range(rounds):
        for step, own in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            own.append(1000 * (time.perf_counter() - started))
    return [statistics.median(own) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {rounds} rounds")
    print(f"{'network':<12}{'batch':>6}{'chainrule':>14}{'torch.nn':>14}{'ratio':>8}")
    for name, twin in (("zhao", torch_zhao), ("mery-skip", TorchMerySkip)):
        for batch in (16, 128):
            x, y = torch.rand(batch, 3, 32, 32), torch.rand(batch, 3, 32, 32)
            ours, theirs = milliseconds(
                [our_step(build(name), x, y), torch_step(twin(), x, y)], rounds
            )
            print(f"{name:<12}{batch:>6}{ours:>11.1f} ms{theirs:>11.1f} ms{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
