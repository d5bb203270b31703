"""A transformer that learns to write as this repository does, character by character.

    python examples/transformer.py           # about 3.3 bits a character of the test
    python examples/transformer.py --twin    # with its twin in torch.nn beside it: the same curve

Its text is the repository's own documents; the last tenth is kept for the test. In the end it
writes some lines of its own. Vaswani et al. 2017; the norms stand first, as in GPT-2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from beside import Batch, Curves, options, train, twin_step
from torch import Tensor, nn

from chainrule import (
    GELU,
    AdamW,
    CrossEntropy,
    Embedding,
    Flatten,
    LayerNorm,
    Linear,
    Module,
    MultiHeadAttention,
    Residual,
    Sequential,
    Tape,
    cosine,
    parameter,
    warmup,
)

RATE, DECAY, BATCH, LENGTH = 3e-3, 0.1, 16, 64
WIDTH, HEADS, BLOCKS = 64, 4, 2


class Position(Module):
    """y = x + a learned vector for each place: (N, L, E)."""

    def __init__(self, length: int, width: int) -> None:
        self.weight = parameter(torch.randn(length, width))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        tape.push(self, x.shape[1])
        return x + self.weight[: x.shape[1]]

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (length,) = tape.take(self)
        gweight = torch.zeros_like(self.weight)
        gweight[:length] = gy.sum(0)
        tape.add(self.weight, gweight)
        return gy


def network(characters: int) -> Sequential:
    """Logits (N * L, characters) of what comes after each of the characters (N, L)."""
    blocks = [
        part
        for _ in range(BLOCKS)
        for part in (
            Residual(
                Sequential(
                    LayerNorm(WIDTH),
                    MultiHeadAttention(WIDTH, HEADS, batch_first=True, causal=True),
                )
            ),
            Residual(
                Sequential(
                    LayerNorm(WIDTH), Linear(WIDTH, 4 * WIDTH), GELU(), Linear(4 * WIDTH, WIDTH)
                )
            ),
        )
    ]
    return Sequential(
        Embedding(characters, WIDTH),
        Position(LENGTH, WIDTH),
        *blocks,
        LayerNorm(WIDTH),
        Linear(WIDTH, characters),
        Flatten(0, 1),
    )


class TwinPosition(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(LENGTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: x.shape[1]]


class TwinAttention(nn.MultiheadAttention):
    def __call__(self, x: Tensor) -> Tensor:
        hidden = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.forward(x, x, x, need_weights=False, attn_mask=hidden, is_causal=True)[0]


class TwinResidual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def twin(characters: int) -> nn.Sequential:
    """The same in torch.nn."""
    blocks = [
        part
        for _ in range(BLOCKS)
        for part in (
            TwinResidual(nn.LayerNorm(WIDTH), TwinAttention(WIDTH, HEADS, batch_first=True)),
            TwinResidual(
                nn.LayerNorm(WIDTH),
                nn.Linear(WIDTH, 4 * WIDTH),
                nn.GELU(),
                nn.Linear(4 * WIDTH, WIDTH),
            ),
        )
    ]
    return nn.Sequential(
        nn.Embedding(characters, WIDTH),
        TwinPosition(),
        *blocks,
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, characters),
        nn.Flatten(0, 1),
    )


def text() -> tuple[Tensor, str]:
    """The documents as numbers of characters, and the characters."""
    root = Path(__file__).resolve().parents[1]
    pages = sorted([*root.glob("*.md"), *(root / "docs").glob("*.md")])
    whole = "\n".join(page.read_text("utf-8") for page in pages)
    alphabet = "".join(sorted(set(whole)))
    numbers = {character: number for number, character in enumerate(alphabet)}
    return torch.tensor([numbers[character] for character in whole]), alphabet


def excerpts(numbers: Tensor, count: int) -> Batch:
    """Places drawn by lot: the characters (count, L), and those after them, (count * L,)."""
    starts = torch.randint(len(numbers) - LENGTH, (count, 1))
    found = numbers[starts + torch.arange(LENGTH + 1)]
    return found[:, :-1], found[:, 1:].flatten()


def batches(numbers: Tensor, steps: int) -> Iterator[Batch]:
    return (excerpts(numbers, BATCH) for _ in range(steps))


def write(model: Module, alphabet: str, count: int) -> str:
    """So many characters, each drawn by its probability after those before it."""
    written = [alphabet.index("\n")]
    for _ in range(count):
        logits = model.infer(torch.tensor([written[-LENGTH:]]))[-1]
        written.append(int(logits.softmax(0).multinomial(1)))
    return "".join(alphabet[number] for number in written)


def main(arguments: Sequence[str] | None = None) -> Curves:
    steps, beside = options(__doc__ or "", 1000, arguments)
    torch.manual_seed(0)
    numbers, alphabet = text()
    learn, test = numbers[: len(numbers) * 9 // 10], numbers[len(numbers) * 9 // 10 :]
    model, loss = network(len(alphabet)), CrossEntropy()
    optimizer = AdamW(model.parameters(), weight_decay=DECAY)

    def step(batch: Batch, lr: float) -> Tensor:
        value = loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        model.backward(loss.backward(), input_gradient=False)
        optimizer.lr = lr
        optimizer.step()
        return value

    def objective(network: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    theirs = twin_step(model, twin(len(alphabet)), objective, DECAY) if beside else None
    schedule = warmup(cosine(RATE, steps), max(1, steps // 20))
    curves = train(batches(learn, steps), steps, schedule, step, theirs)
    characters, following = excerpts(test, 200)
    bits = loss(model.infer(characters), following) / math.log(2)
    print(f"{bits:.2f} bits a character of the test, and some lines of its own:")
    print(write(model, alphabet, 300))
    return curves


if __name__ == "__main__":
    main()
