"""A convolutional network that reads handwritten digits of 8 x 8 pixels.

    pip install '.[examples]'
    python examples/digits.py           # reads 99.4 % of the test images
    python examples/digits.py --twin    # with its twin in torch.nn beside it: the same curve

The 1797 digits are scikit-learn's; every fifth, drawn by lot, is kept for the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from beside import Batch, Curves, options, train, twin_step
from sklearn.datasets import load_digits
from torch import Tensor, nn

from chainrule import (
    AdamW,
    Conv2d,
    CrossEntropy,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    fuse,
    one_cycle,
)

RATE, DECAY, BATCH = 3e-3, 0.05, 64


def network(width: int = 32) -> Sequential:
    """Logits (N, 10) of images (N, 1, 8, 8)."""
    return Sequential(
        Conv2d(1, width, 3, padding=1),
        ReLU(),
        Conv2d(width, 2 * width, 3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Conv2d(2 * width, 2 * width, 3, padding=1),
        ReLU(),
        Flatten(),
        Linear(2 * width * 16, 10),
    )


def twin(width: int = 32) -> nn.Sequential:
    """The same in torch.nn."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * 16, 10),
    )


def digits() -> tuple[Batch, Batch]:
    """Images (N, 1, 8, 8), from 0 to 1, and what they show: to learn from, and to test on."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    test, learn = order[: len(order) // 5], order[len(order) // 5 :]
    classes = torch.from_numpy(labels)
    return (images[learn], classes[learn]), (images[test], classes[test])


def batches(images: Tensor, labels: Tensor, steps: int) -> Iterator[Batch]:
    """Images drawn by lot, each batch moved by up to a pixel: where a digit stands says nothing."""
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,))
        down, right = (int(move) for move in torch.randint(3, (2,)))
        padded = nn.functional.pad(images[chosen], (1, 1, 1, 1))
        yield padded[:, :, down : down + 8, right : right + 8], labels[chosen]


def main(arguments: Sequence[str] | None = None) -> Curves:
    steps, beside = options(__doc__ or "", 1500, arguments)
    torch.manual_seed(0)
    learn, (images, labels) = digits()
    model = network()
    fused, loss = fuse(model), CrossEntropy()
    optimizer = AdamW(model.parameters(), weight_decay=DECAY)

    def step(batch: Batch, lr: float) -> Tensor:
        images, labels = batch
        value = loss(fused(images), labels)
        optimizer.zero_grad()
        fused.backward(loss.backward(), input_gradient=False)
        optimizer.lr = lr
        optimizer.step()
        return value

    def objective(network: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    theirs = twin_step(model, twin, objective, DECAY) if beside else None
    curves = train(batches(learn[0], learn[1], steps), steps, one_cycle(RATE, steps), step, theirs)
    right = int((fused.infer(images).argmax(1) == labels).sum())
    print(f"right: {right} of {len(labels)} test images, {100 * right / len(labels):.1f} %")
    return curves


if __name__ == "__main__":
    main()
