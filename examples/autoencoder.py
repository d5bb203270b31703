"""A variational autoencoder that learns to make handwritten digits, of 8 x 8 pixels.

    pip install '.[examples]'
    python examples/autoencoder.py           # 24.0 nats an image of the test
    python examples/autoencoder.py --twin    # with its twin in torch.nn beside it: the same curve

The loss is the evidence lower bound of Kingma and Welling 2014, in nats an image: what it takes to
tell the pixels when the code z is known, and what it takes to tell z. In the end some digits are
made of codes that were drawn by lot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from beside import Batch, Curves, options, train, twin_step
from sklearn.datasets import load_digits
from torch import Tensor, nn

from chainrule import GELU, AdamW, BCEWithLogits, Graph, Linear, Module, Sequential, Tape, one_cycle

RATE, DECAY, BATCH, CODE = 4e-3, 0.01, 128, 8


class Draw(Module):
    """z = m + s noise, and KL(N(m, s^2) | N(0, 1)), where (m, log s^2) is the statistics' row.

    statistics (N, 2 C), noise (N, C) to z (N, C) and a scalar, the sum over the batch:
    (m^2 + s^2 - log s^2 - 1) / 2. So dL/dm = gz + g m and, with v = log s^2,
    dL/dv = (gz noise s + g (s^2 - 1)) / 2.
    """

    constants = (1,)  # the noise

    def run(self, statistics: Tensor, noise: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        mean, log_variance = statistics.chunk(2, 1)
        spread = (0.5 * log_variance).exp()
        tape.push(self, mean, spread, noise)
        divergence = 0.5 * (mean.square() + spread.square() - log_variance - 1).sum()
        return mean + spread * noise, divergence

    def back(self, gradients: tuple[Tensor, Tensor], tape: Tape) -> tuple[Tensor, None]:
        gz, g = gradients
        mean, spread, noise = tape.take(self)
        glog = 0.5 * (gz * noise * spread + g * (spread.square() - 1))
        return torch.cat((gz + g * mean, glog), 1), None


def network(width: int = 128) -> Graph:
    """Logits of the pixels (N, 64), and the sum of the divergences, of images and noise."""
    return Graph(
        ("image", "noise"),
        {
            "encode": (Sequential(Linear(64, width), GELU(), Linear(width, 2 * CODE)), "image"),
            "draw": (Draw(), "encode", "noise"),
            "decode": (Sequential(Linear(CODE, width), GELU(), Linear(width, 64)), "draw.0"),
        },
        outputs=("decode", "draw.1"),
    )


class Twin(nn.Module):
    """The same in torch.nn."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, width), nn.GELU(), nn.Linear(width, 2 * CODE))
        self.decode = nn.Sequential(nn.Linear(CODE, width), nn.GELU(), nn.Linear(width, 64))

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encode(image).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * noise
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
        return self.decode(z), divergence


def digits() -> tuple[Tensor, Tensor]:
    """Images (N, 64), from 0 to 1: to learn from, and every fifth to test on."""
    pixels, _ = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float() / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[len(order) // 5 :]], images[order[: len(order) // 5]]


def batches(images: Tensor, steps: int) -> Iterator[Batch]:
    """Images drawn by lot, and the noise of their codes."""
    for _ in range(steps):
        yield images[torch.randint(len(images), (BATCH,))], torch.randn(BATCH, CODE)


def drawing(images: Tensor) -> str:
    """Images (N, 64), side by side in characters."""
    shades = (images.clamp(0, 1) * 4).round().long().reshape(-1, 8, 8)
    rows = shades.permute(1, 0, 2)  # (8, N, 8)
    return "\n".join("  ".join("".join(" .+#@"[i] for i in image) for image in row) for row in rows)


def main(arguments: Sequence[str] | None = None) -> Curves:
    steps, beside = options(__doc__ or "", 2000, arguments)
    torch.manual_seed(0)
    learn, test = digits()
    model, pixels = network(), BCEWithLogits(reduction="sum")
    optimizer = AdamW(model.parameters(), weight_decay=DECAY)

    def step(batch: Batch, lr: float) -> Tensor:
        images, noise = batch
        logits, divergence = model(images, noise)
        value = (pixels(logits, images) + divergence) / len(images)
        optimizer.zero_grad()
        each = torch.tensor(1 / len(images))
        model.backward((pixels.backward(each), each), input_gradient=False)
        optimizer.lr = lr
        optimizer.step()
        return value

    def objective(network: nn.Module, batch: Batch) -> Tensor:
        images, noise = batch
        logits, divergence = network(images, noise)
        told = nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        return (told + divergence) / len(images)

    theirs = twin_step(model, Twin, objective, DECAY) if beside else None
    curves = train(batches(learn, steps), steps, one_cycle(RATE, steps), step, theirs)
    logits, divergence = model.infer(test, torch.randn(len(test), CODE))
    nats = (pixels(logits, test) + divergence) / len(test)
    print(f"{nats:.2f} nats an image of the test, and eight new ones:")
    print(drawing(model["decode"].infer(torch.randn(8, CODE)).sigmoid()))
    return curves


if __name__ == "__main__":
    main()
