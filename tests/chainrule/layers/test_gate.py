"""Products and the gates that are made with them, against central differences and PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chainrule import (
    AdaptiveAvgPool2d,
    Channels,
    Conv2d,
    Graph,
    Multiply,
    ReLU,
    Sequential,
    Sigmoid,
    gradcheck,
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["both", "a", "b"])), max_size=4),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 2**32),
)
def test_the_product_and_its_gradients_are_pytorch_s(assert_near, sizes, dtype, seed):
    torch.manual_seed(seed)
    a = torch.randn([1 if who == "b" else size for size, who in sizes], dtype=dtype)
    b = torch.randn([1 if who == "a" else size for size, who in sizes], dtype=dtype)
    ours = Multiply()
    twins = [x.clone().requires_grad_() for x in (a, b)]
    expected = twins[0] * twins[1]
    assert_near(ours.forward(a, b), expected)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    for got, twin in zip(ours.backward(gy), twins, strict=True):
        assert_near(got, twin.grad)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (2, 3)), ((2, 3, 2, 2), (2, 3, 1, 1)), ((1, 3), (2, 1)), ((), ())]
)
def test_the_product_passes_gradcheck(a, b):
    gradcheck(Multiply(), torch.randn(a), torch.randn(b))


def squeeze_and_excitation(channels: int, inner: int) -> Graph:
    squeeze = Sequential(
        AdaptiveAvgPool2d(1),
        Conv2d(channels, inner, 1),
        ReLU(),
        Conv2d(inner, channels, 1),
        Sigmoid(),
    )
    return Graph("x", {"squeeze": (squeeze, "x"), "y": (Multiply(), "x", "squeeze")})


class TwinOfSqueezeAndExcitation(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.squeeze(x)


def simple_gate(channels: int) -> Graph:
    half = channels // 2
    return Graph(
        "x",
        {
            "one": (Channels(0, half), "x"),
            "other": (Channels(half, channels), "x"),
            "y": (Multiply(), "one", "other"),
        },
    )


class TwinOfSimpleGate(nn.Module):
    """As NAFNet writes it."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "gaps"])
def test_squeeze_and_excitation_and_nafnet_s_gate_are_combinations(
    assert_twin, arranged, dtype, layout
):
    x = arranged(torch.randn(2, 6, 5, 4, dtype=dtype), layout)
    assert_twin(squeeze_and_excitation(6, 3), TwinOfSqueezeAndExcitation(6, 3), x, layout)
    assert_twin(simple_gate(6), TwinOfSimpleGate(), x, layout)


def test_gates_pass_gradcheck():
    gradcheck(squeeze_and_excitation(4, 3), torch.randn(2, 4, 3, 2))
    gradcheck(simple_gate(4), torch.randn(2, 4, 3, 2))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            torch.zeros(2, 3),
            torch.zeros(2, 4),
            r"Multiply: expected two inputs whose sizes are .* 1, got \(2, 3\) and \(2, 4\)",
        ),
        (torch.zeros(2, 3), torch.zeros(3), r"got \(2, 3\) and \(3,\)"),
        (
            torch.zeros(2).double(),
            torch.zeros(2),
            r"the first input is torch\.float64 and the second input torch\.float32",
        ),
        (torch.zeros(2), torch.zeros(2).long(), "expected the second input to be of a float dtype"),
    ],
)
def test_what_is_refused(a, b, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Multiply()(a, b)
