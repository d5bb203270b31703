"""A checkpoint changes memory and time, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chainrule import (
    Add,
    BatchNorm2d,
    Checkpoint,
    Conv2d,
    Dropout,
    Graph,
    Identity,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Tape,
    TapeError,
    fuse,
    gradcheck,
    summary,
)
from chainrule.tape import gradient_of


def part() -> Sequential:
    return Sequential(Conv2d(3, 3, 3, padding=1), BatchNorm2d(3), Dropout(0.3), Sigmoid())


def passed(model: Module, x: Tensor) -> tuple[Tensor, ...]:
    """Output, gradients, buffers, and what is drawn afterwards."""
    torch.manual_seed(3)
    model.zero_grad()
    y = model(x)
    gx = model.backward(torch.linspace(0, 1, y.numel()).reshape(y.shape))
    gradients = [gradient for _, gradient in model.param()]
    return y, gx, *gradients, *model.state_dict().values(), torch.rand(3)


@pytest.mark.parametrize("training", [True, False])
def test_a_checkpoint_changes_no_number(training):
    torch.manual_seed(0)
    inner = Sequential(part(), part()).train(training)
    x = torch.randn(2, 3, 5, 7)
    state = {name: value.clone() for name, value in inner.state_dict().items()}
    expected = [value.clone() for value in passed(inner, x)]
    inner.load_state_dict(state)
    checkpointed = Sequential(*(Checkpoint(each) for each in inner)).train(training)
    for ours, theirs in zip(passed(checkpointed, x), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_passes_gradcheck():
    gradcheck(Checkpoint(Sequential(Conv2d(2, 2, 2), Sigmoid())), torch.randn(2, 2, 3, 4))
    several = Graph(("a", "b"), {"sum": (Add(), "a", "b")}, outputs=("sum", "a"))
    gradcheck(Checkpoint(several), torch.randn(2, 3), torch.randn(2, 3))


def test_checkpoints_nest(assert_near):
    inner = Sequential(Conv2d(3, 3, 3, padding=1), Sigmoid())
    x = torch.randn(1, 3, 5, 5)
    nested = Checkpoint(Sequential(Checkpoint(inner), Checkpoint(inner)))
    for ours, theirs in zip(passed(nested, x), passed(Sequential(inner, inner), x), strict=True):
        assert_near(ours, theirs)


def test_only_the_inputs_stay_in_memory_between_the_passes(live_bytes):
    def kept(model: Module) -> int:
        x = torch.zeros(1, 1, 64, 64)
        before = live_bytes()
        y, back = model.pullback(x)
        found = live_bytes() - before - y.nbytes
        back(y)
        return found

    image = 64 * 64 * 4
    chain = [Sequential(*(Sigmoid() for _ in range(4))) for _ in range(2)]
    generator = torch.get_rng_state().nbytes
    assert kept(Sequential(*chain)) == 7 * image  # all outputs, and the last is y itself
    assert kept(Sequential(*map(Checkpoint, chain))) <= image + 2 * generator + 1024


def test_summary_shows_the_memory_that_is_spared():
    chain = [Sequential(*(Sigmoid() for _ in range(4))) for _ in range(2)]
    image = 64 * 64 * 4
    plain = summary(Sequential(*chain), (1, 1, 64, 64))
    spared = summary(Sequential(*map(Checkpoint, chain)), (1, 1, 64, 64))
    # Two inputs and the four outputs of one part, in place of eight outputs.
    assert plain.training_bytes == 8 * image
    assert spared.training_bytes == 6 * image
    assert spared.spared_bytes == 3 * image  # beside a plain one, whose input nobody keeps
    assert "(48.0 KiB less by checkpoints)" in str(spared)
    assert "checkpoints" not in str(plain)


def test_a_parameter_that_changes_between_the_passes_is_an_error():
    inner = Conv2d(1, 1, 1)
    model = Sequential(Checkpoint(Sequential(inner, ReLU())))
    model(torch.zeros(1, 1, 2, 2))
    inner.weight.add_(1)
    with pytest.raises(TapeError, match=r"Conv2d.*its weight was changed"):
        model.backward(torch.zeros(1, 1, 2, 2))


def test_a_parameter_inside_and_outside_is_final_once_and_complete():
    shared = Conv2d(1, 1, 1)
    model = Sequential(Checkpoint(Sequential(shared, Sigmoid(), shared)), shared, Identity())
    told: list[tuple[Tensor, Tensor]] = []
    x = torch.randn(1, 1, 3, 3)
    model(x)
    model.backward(
        torch.ones(1, 1, 3, 3),
        listener=lambda value: told.append((value, gradient_of(value).clone())),
    )
    assert len(told) == 2
    for value, gradient in told:
        assert torch.equal(gradient_of(value), gradient)


def test_a_parameter_is_told_of_before_the_pass_ends():
    """The last layer's while the checkpoint waits, the checkpoint's own before the pass ends."""
    first, second = Conv2d(1, 1, 1), Conv2d(1, 1, 1)
    order: list[str] = []
    names = {id(first.weight): "first", id(second.weight): "second"}

    class Marks(Identity):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            tape.push(self)
            return x

        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            tape.take(self)
            order.append("start")
            return gy

    model = Sequential(Marks(), Checkpoint(Sequential(first)), second)
    model(torch.zeros(1, 1, 2, 2))
    model.backward(
        torch.ones(1, 1, 2, 2),
        listener=lambda value: order.append(names.get(id(value), "bias")),
    )
    assert [each for each in order if each != "bias"] == ["second", "first", "start"]


def test_the_input_gradient_can_be_waived():
    model = Checkpoint(Sequential(Conv2d(1, 1, 1)))
    model(torch.zeros(1, 1, 2, 2))
    assert model.backward(torch.ones(1, 1, 2, 2), input_gradient=False) is None


def test_fuse_merges_inside_of_a_checkpoint():
    fused = fuse(Checkpoint(Sequential(Conv2d(1, 1, 1), ReLU())))
    assert [row.layer for row in summary(fused, (1, 1, 4, 4)).rows] == ["Conv2d + ReLU"]
