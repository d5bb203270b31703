"""A transformer that learns to write as this repository does, character by character.

    python examples/transformer.py           # about 3.3 bits a character of the test
    python examples/transformer.py --twin    # with its twin in torch.nn beside it: the same curve

Its text is the repository's own documents; the last tenth is kept for the test. In the end it
writes some lines of its own. Vaswani et al. 2017; the norms stand first, as in GPT-2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from beside import Batch, Curves, options, train, twin_step
from torch import Tensor, nn

import chainrule
from chainrule import AdamW, CrossEntropy, Module, Tape, capture, cosine, ops, parameter, warmup

RATE, DECAY, BATCH, LENGTH = 3e-3, 0.1, 16, 64
WIDTH, HEADS, BLOCKS = 64, 4, 2


class Position(Module):
    """y = x + a learned vector for each place: (N, L, E)."""

    def __init__(self, length: int, width: int) -> None:
        self.weight = parameter(torch.randn(length, width))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        tape.push(self, x.shape[1])
        return ops.shift(x, self.weight[: x.shape[1]])

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (length,) = tape.take(self)
        gweight = torch.zeros_like(self.weight)
        gweight[:length] = ops.shift_grad(gy, 2)
        tape.add(self.weight, gweight)
        return gy


class TwinPosition(nn.Module):
    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[: x.shape[1]]


class TwinAttention(nn.MultiheadAttention):
    def __call__(self, x: Tensor) -> Tensor:
        hidden = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.forward(x, x, x, need_weights=False, attn_mask=hidden, is_causal=True)[0]


class TwinResidual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def layers(characters: int, of: Any, position: Any, residual: Any, attention: Any) -> Iterator[Any]:
    """Logits (N * L, characters) of what comes after each of the characters (N, L).

    Whose layers they are, chainrule's or those `of` torch.nn, makes no difference: they are named
    alike, and take the same arguments.
    """
    yield of.Embedding(characters, WIDTH)
    yield position(LENGTH, WIDTH)
    for _ in range(BLOCKS):
        looks = attention(WIDTH, HEADS, batch_first=True)
        yield residual(of.Sequential(of.LayerNorm(WIDTH), looks))
        wider, narrower = of.Linear(WIDTH, 4 * WIDTH), of.Linear(4 * WIDTH, WIDTH)
        yield residual(of.Sequential(of.LayerNorm(WIDTH), wider, of.GELU(), narrower))
    yield of.LayerNorm(WIDTH)
    yield of.Linear(WIDTH, characters)
    yield of.Flatten(0, 1)


def network(characters: int) -> chainrule.Sequential:
    attention = partial(chainrule.MultiHeadAttention, causal=True)
    return chainrule.Sequential(
        *layers(characters, chainrule, Position, chainrule.Residual, attention)
    )


def twin(characters: int) -> nn.Sequential:
    """The same in torch.nn."""
    return nn.Sequential(*layers(characters, nn, TwinPosition, TwinResidual, TwinAttention))


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

    def passes(characters: Tensor, following: Tensor) -> Tensor:
        value = loss(model(characters), following)
        optimizer.zero_grad()
        model.backward(loss.backward(), input_gradient=False)
        return value

    captured = capture(passes, *excerpts(learn, BATCH))  # the same without Python, step after step

    def step(batch: Batch, lr: float) -> Tensor:
        value = captured(*batch)
        optimizer.lr = lr
        optimizer.step()
        return value

    def objective(network: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    theirs = twin_step(model, partial(twin, len(alphabet)), objective, DECAY) if beside else None
    schedule = warmup(cosine(RATE, steps), max(1, steps // 20))
    batches = (excerpts(learn, BATCH) for _ in range(steps))
    curves = train(batches, steps, schedule, step, theirs)
    characters, following = excerpts(test, 200)
    bits = loss(model.infer(characters), following) / math.log(2)
    print(f"{bits:.2f} bits a character of the test, and some lines of its own:")
    print(write(model, alphabet, 300))
    return curves


if __name__ == "__main__":
    main()
