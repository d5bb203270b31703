"""Attention against central differences and against PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chainrule import (
    Graph,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    MultiheadAttention,
    Residual,
    Sequential,
    gradcheck,
    gradcheck_direction,
    ops,
    summary,
)
from chainrule.backends.reference import attention as reference

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(params=[None, 4], ids=["whole", "in blocks"], autouse=True)
def blocks(request: Any, monkeypatch: Any) -> None:
    """Small inputs are one block of queries: here several, too."""
    if request.param:
        module = __import__(reference.__module__, fromlist=["attention"])
        monkeypatch.setattr(module, "BLOCK_BYTES", 1)
        monkeypatch.setattr(module, "LEAST_ROWS", request.param)
        monkeypatch.setattr(module, "CAUSAL_ROWS", request.param)


def masks(n: int, heads: int, length: int, sources: int, kind: str, dtype: torch.dtype) -> Any:
    """A key_padding_mask and an attn_mask by which every query sees its first key."""
    padding = torch.rand(n, sources) < 0.4
    padding[:, 0] = False
    shape = (n * heads, length, sources) if kind == "each" else (length, sources)
    mask = torch.rand(shape) < 0.4
    mask[..., 0] = False
    if kind == "float":
        return padding, torch.randn(shape, dtype=dtype).masked_fill(mask, -torch.inf)
    return padding, mask


def equal(assert_near, ours, theirs, inputs, padding, mask, causal=False) -> None:
    """Outputs and all gradients for the same weights."""
    dtype = inputs[0].dtype
    ours.to(dtype)
    theirs.to(dtype)
    theirs.load_state_dict(ours.state_dict())
    sources = [x.clone().requires_grad_() for x in inputs]
    three = sources * 3 if len(sources) == 1 else sources
    twin_mask = mask
    if causal:
        length, keys = (x.shape[1 if ours.batch_first else 0] for x in three[:2])
        later = torch.ones(length, keys, dtype=torch.bool).triu(1)
        twin_mask = later if mask is None else mask | later
    twin_padding = padding
    if mask is not None and mask.is_floating_point():  # PyTorch asks for two of a kind
        twin_padding = torch.zeros(padding.shape, dtype=dtype).masked_fill(padding, -torch.inf)
    expected, _ = theirs(*three, key_padding_mask=twin_padding, attn_mask=twin_mask)
    given = [*inputs] if padding is None else [*inputs, padding]
    y = ours.forward(*given) if mask is None else ours.forward(*given, mask)
    assert_near(y, expected, "output")
    gy = torch.randn_like(expected)
    expected.backward(gy)
    gx = ours.backward(gy)
    for got, source in zip(gx if isinstance(gx, tuple) else [gx], sources, strict=False):
        assert_near(got, source.grad, "gradient of an input")
    twins = dict(theirs.named_parameters())
    for name, got in ours.named_parameters():
        assert_near(got.grad, twins[name].grad, name)


@settings(max_examples=50, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "shared", "each", "float"]),
    st.booleans(),
    st.sampled_from([(None, None), (5, 3), (8, None)]),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
)
def test_cross_attention_equals_its_twin(
    assert_near, batch_first, bias, kind, causal, sizes, dtype, seed
):
    torch.manual_seed(seed)
    kdim, vdim = sizes
    options: dict[str, Any] = {
        "bias": bias,
        "kdim": kdim,
        "vdim": vdim,
        "batch_first": batch_first,
    }
    causal = causal and kind != "float"
    ours = MultiHeadAttention(8, 2, causal=causal, **options)
    theirs = nn.MultiheadAttention(8, 2, **options)
    n, length, sources = 3, 7, 6
    inputs = [
        torch.randn((n, size, width) if batch_first else (size, n, width), dtype=dtype)
        for size, width in ((length, 8), (sources, kdim or 8), (sources, vdim or 8))
    ]
    padding, mask = masks(n, 2, length, sources, kind, dtype) if kind else (None, None)
    equal(assert_near, ours, theirs, inputs, padding, mask, causal)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_self_attention_equals_its_twin(assert_near, dtype, batch_first, causal, padded):
    ours = MultiHeadAttention(12, 3, batch_first=batch_first, causal=causal)
    theirs = nn.MultiheadAttention(12, 3, batch_first=batch_first)
    x = torch.randn((2, 9, 12) if batch_first else (9, 2, 12), dtype=dtype)
    padding = masks(2, 3, 9, 9, "shared", dtype)[0] if padded else None
    equal(assert_near, ours, theirs, [x], padding, None, causal)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_passes_gradcheck(causal, batch_first):
    attention = MultiHeadAttention(4, 2, batch_first=batch_first, causal=causal)
    for value in attention.parameters():  # biases, too
        value.normal_()
    gradcheck(attention, torch.randn(2, 3, 4))
    n = 2 if batch_first else 3
    gradcheck(attention, torch.randn(2, 3, 4), torch.arange(n * (5 - n)).reshape(n, -1) == 1)


def test_cross_attention_passes_gradcheck():
    attention = MultiHeadAttention(4, 2, kdim=3, vdim=2, batch_first=True)
    query, key, value = torch.randn(2, 3, 4), torch.randn(2, 4, 3), torch.randn(2, 4, 2)
    padding, mask = masks(2, 2, 3, 4, "each", torch.float64)
    gradcheck(attention, query, key, value, padding, mask)


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"kdim": 5, "vdim": 3}, {"kdim": 6}, {"vdim": 4}]
)
def test_starts_as_its_twin(assert_starts_alike, options):
    assert_starts_alike(
        lambda: MultiHeadAttention(6, 2, **options),
        lambda: nn.MultiheadAttention(6, 2, **options),
    )


def test_a_causal_position_depends_on_none_after_it():
    attention = MultiHeadAttention(8, 2, batch_first=True, causal=True)
    x = torch.randn(1, 10, 8)
    y = attention.infer(x)
    x[:, 6:] += 1
    changed = (attention.infer(x) != y).any(-1)[0]
    assert changed.tolist() == [False] * 6 + [True] * 4


def test_a_query_that_sees_nothing_reads_zeros_and_has_no_gradient():
    attention = MultiHeadAttention(4, 2, batch_first=True)
    x, padding = torch.randn(2, 3, 4), torch.tensor([[True] * 3, [False] * 3])
    y = attention.forward(x, padding)
    assert y[0].abs().max() == 0
    gx, none = attention.backward(torch.randn(2, 3, 4))
    assert none is None
    assert gx[0].abs().max() == 0
    assert gx[1].abs().min() > 0
    assert all(
        value.grad is not None and value.grad.isfinite().all() for value in attention.parameters()
    )


@pytest.mark.parametrize("causal", [True, False])
def test_dropout_drops_weights_and_scales_the_others(assert_near, causal):
    n, length, heads, d = 2, 5, 2, 3
    q, k, v = (torch.randn(n, length, heads * d).double().requires_grad_() for _ in range(3))
    keep = torch.rand(n, heads, length, length) < 0.6
    settings = (heads, None, None, causal, keep, 1 / 0.6)

    def split(x: Tensor) -> Tensor:
        return x.reshape(n, length, heads, d).transpose(1, 2)

    scores = split(q) @ split(k).transpose(2, 3) / d**0.5
    if causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    weights = scores.softmax(-1) * keep / 0.6
    expected = (weights @ split(v)).transpose(1, 2).reshape(n, length, -1)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    with torch.no_grad():
        y, logs = ops.attention(q, k, v, *settings)
        assert_near(y, expected)
        found = ops.attention_grad(gy, q, k, v, y, logs, *settings)
    for got, x in zip(found, (q, k, v), strict=True):
        assert_near(got, x.grad)


def test_no_queries_have_no_answers():
    layer, x = MultiHeadAttention(8, 2), torch.randn(3, 2, 8)
    y, back = layer.pullback(x[:0], x, x)
    assert y.shape == (0, 2, 8)
    gradients = back(torch.ones(0, 2, 8))
    assert [g.shape[0] for g in gradients] == [0, 3, 3]
    assert not gradients[1].any()


def test_dropout_is_for_training_and_repeats_by_the_seed():
    attention, x = MultiHeadAttention(8, 2, dropout=0.5), torch.randn(6, 2, 8)
    torch.manual_seed(1)
    first = attention(x)
    assert not torch.equal(first, attention(x))
    torch.manual_seed(1)
    assert torch.equal(first, attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def test_the_weights_are_never_held_at_once(live_bytes):
    attention = MultiHeadAttention(4, 2, batch_first=True, causal=True)
    x = torch.randn(1, 1500, 4)
    before = live_bytes()
    attention.forward(x)
    assert live_bytes() - before < 2 * 1500 * 1500  # they would be eight times that
    attention.backward(torch.ones_like(x))


def test_a_transformer_block_is_made_of_what_is_there():
    block = Sequential(
        Residual(Sequential(LayerNorm(8), MultiHeadAttention(8, 2, batch_first=True, causal=True))),
        Residual(Sequential(LayerNorm(8), Linear(8, 16), Linear(16, 8))),
    )
    gradcheck_direction(block, torch.randn(2, 4, 8))
    decoder = Graph(
        ("x", "memory"),
        {"y": (MultiHeadAttention(8, 2, batch_first=True), "x", "memory", "memory")},
    )
    gradcheck_direction(decoder, torch.randn(2, 3, 8), torch.randn(2, 4, 8))


def test_a_summary_counts_the_products():
    whole = summary(MultiHeadAttention(8, 2, batch_first=True), (3, 5, 8))
    assert whole.parameters == 4 * 8 * 8 + 4 * 8
    assert whole.multiply_adds == 3 * 5 * 8 * 24 + 2 * 3 * 5 * 5 * 8 + 3 * 5 * 8 * 8


X = torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiHeadAttention(6, 4), "num_heads=4 must divide embed_dim=6"),
        (lambda: MultiHeadAttention(0, 1), "MultiHeadAttention: embed_dim must be a positive int"),
        (lambda: MultiHeadAttention(4, 2, dropout=2), r"p must lie in \[0, 1\], got 2"),
        (
            lambda: MultiHeadAttention(4, 2, kdim=3)(X),
            "with kdim=3 and vdim=4 give query, key and value",
        ),
        (
            lambda: MultiHeadAttention(4, 2)(torch.zeros(2, 3, 5)),
            r"expected the query to be \(L, N, 4\), got \(2, 3, 5\)",
        ),
        (
            lambda: MultiHeadAttention(4, 2, batch_first=True)(torch.zeros(3, 4)),
            r"expected the query to be \(N, L, 4\), got \(3, 4\)",
        ),
        (
            lambda: MultiHeadAttention(4, 2, batch_first=True)(X, X, torch.zeros(2, 2, 4)),
            r"expected queries \(N, L, 4\) and keys .* \(2, 3, 4\) and \(2, 2, 4\)",
        ),
        (
            lambda: MultiHeadAttention(4, 2, batch_first=True)(X, torch.zeros(2, 3)),
            r"expected a key_padding_mask of torch.bool and shape \(2, 3\), got torch.float32",
        ),
        (
            lambda: MultiHeadAttention(4, 2, batch_first=True)(
                X, X, X, torch.zeros(2, 3).bool(), torch.zeros(2, 3).bool()
            ),
            r"expected an attn_mask of shape \(3, 3\) or \(4, 3, 3\), got \(2, 3\)",
        ),
        (
            lambda: MultiHeadAttention(4, 2, batch_first=True)(
                X, X, X, torch.zeros(2, 3).bool(), torch.zeros(3, 3).long()
            ),
            r"expected an attn_mask of torch.bool or torch.float32, got torch.int64",
        ),
        (
            lambda: MultiHeadAttention(4, 2)(X, X, X, X, X, X),
            r"expected x, \(x, key_padding_mask\) or .*, got 6 inputs",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert MultiheadAttention is MultiHeadAttention
    attention = MultiHeadAttention(4, 2, 0.1, False, batch_first=True, causal=True)
    assert attention.arguments() == "4, 2, dropout=0.1, bias=False, batch_first=True, causal=True"


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("length", [3, 9])
def test_the_weights_are_those_of_its_twin(assert_near, average, batch_first, length):
    ours = MultiHeadAttention(8, 2, batch_first=batch_first)
    theirs = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    theirs.load_state_dict(ours.state_dict())
    query, key = (torch.randn(2, size, 8) for size in (4, length))
    if not batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    padding = torch.arange(2 * length).reshape(2, -1) % 4 == 1
    masks = (padding, torch.arange(4 * length).reshape(4, -1) % 5 == 2)
    expected = theirs(query, key, key, *masks[:1], True, masks[1], average)[1]
    got = ours.weights(query, key, key, *masks, average_attn_weights=average)
    assert_near(got, expected, "weights")


def test_the_weights_of_self_attention():
    looks = MultiHeadAttention(8, 2, batch_first=True, causal=True)
    x = torch.randn(2, 5, 8)
    weights = looks.weights(x)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 5))
    assert not weights.triu(1).any()
    assert not looks.weights(x, torch.ones(2, 5) > 0).any()


def test_what_pytorch_adds_to_keys_and_values_is_refused():
    with pytest.raises(ValueError, match="no add_bias_kv or add_zero_attn; append"):
        MultiHeadAttention(8, 2, add_zero_attn=True)
