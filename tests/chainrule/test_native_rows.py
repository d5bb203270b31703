"""The kernels that work on rows equal the reference, with every instruction set and any threads."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import chainrule
from chainrule import ops
from chainrule.backends import native, reference

if os.environ.get("CHAINRULE_BACKEND") == "reference":
    pytest.skip("CHAINRULE_BACKEND keeps the kernels out", allow_module_level=True)
kernels: Any = pytest.importorskip("chainrule._native")

INF, NAN = math.inf, math.nan
SEEDS = st.integers(0, 2**32)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    best, threads = kernels.instruction_set(), torch.get_num_threads()
    with chainrule.use_backend("native"):
        yield
    kernels.use_instruction_set(best)
    torch.set_num_threads(threads)


def in_turn() -> Iterator[str]:
    for name in kernels.instruction_sets():
        kernels.use_instruction_set(name)
        yield name


def doubles(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    return [doubles(each) for each in value] if isinstance(value, list) else value


def agree(op: str, *arguments: Any, most: float = 3e-6) -> None:
    """The kernels' op equals the reference in float64, and it is the kernels' own."""
    assert getattr(native, op) is not getattr(reference, op)
    expected = getattr(reference, op)(*map(doubles, arguments))
    for name in in_turn():
        close(getattr(native, op)(*arguments), expected, most, f"{op}, {name}")


def close(got: Any, expected: Any, most: float, what: str) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(got, expected, strict=True):
            close(one, other, most, what)
        return
    assert got.dtype is torch.float32, what
    assert got.shape == expected.shape, what
    error, largest = float((got - expected).abs().max()), float(expected.abs().max())
    assert error <= most * max(1.0, largest), f"{what}: {error} beside {largest}"


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values: dense, rows with gaps between them, values with gaps, or a sign by a bit."""
    if layout == "rows":
        return torch.cat((x, torch.full_like(x, NAN)), -1)[..., : x.shape[-1]]
    if layout == "gaps":
        return torch.stack((x, torch.full_like(x, NAN)), -1)[..., 0]
    if layout == "sign":
        return torch.complex(torch.zeros_like(x), -x).conj().imag
    return x


layouts = st.sampled_from(["dense", "rows", "gaps", "sign"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=0, max_size=2),
    st.integers(1, 70),
    st.integers(1, 70),
    st.booleans(),
    layouts,
    layouts,
    SEEDS,
)
def test_products_of_matrices(rows, inputs, outputs, transposed, layout, other, seed):
    torch.manual_seed(seed)
    x, gy = torch.randn(*rows, inputs), torch.randn(*rows, outputs)
    weight = torch.randn(inputs, outputs).t() if transposed else torch.randn(outputs, inputs)
    bias = torch.randn(outputs)
    x, gy, weight = laid_out(x, layout), laid_out(gy, other), laid_out(weight, other)
    agree("linear", x, weight, laid_out(bias, layout))
    agree("linear", x, weight, None)
    agree("linear_input_grad", gy, weight)
    agree("linear_parameter_grads", x, gy)


@pytest.mark.parametrize(
    "sizes", [(1030, 64, 192), (700, 257, 65), (3, 2048, 10), (5000, 3, 1), (2, 7, 300)]
)
def test_large_products_of_matrices(sizes):
    rows, inputs, outputs = sizes
    torch.set_num_threads(3)
    x, gy, weight = torch.randn(rows, inputs), torch.randn(rows, outputs), torch.rand(sizes[:0:-1])
    agree("linear", x, weight, torch.randn(outputs))
    agree("linear_input_grad", gy, weight)
    agree("linear_parameter_grads", x, gy, most=1e-5)


def test_products_of_matrices_that_no_cache_holds_are_left_to_pytorch(monkeypatch):
    monkeypatch.setattr("chainrule.backends.native.rows.LARGEST", 11)
    monkeypatch.setattr(kernels, "linear", None)  # not to be called
    monkeypatch.setattr(kernels, "linear_gradients", None)
    layer, x = chainrule.Linear(3, 4), torch.randn(5, 3)
    assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert layer.backward(torch.ones(5, 4)).shape == x.shape


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=0, max_size=2),
    st.integers(1, 40),
    st.lists(st.integers(1, 40), min_size=1, max_size=2),
    st.sampled_from([torch.int64, torch.int32]),
    layouts,
    layouts,
    SEEDS,
)
def test_rows_of_a_table_and_one_for_all(rows, entries, sizes, dtype, layout, other, seed):
    torch.manual_seed(seed)
    index = torch.randint(entries, rows, dtype=dtype)
    agree("embedding", index, laid_out(torch.randn(entries, sizes[0]), layout))
    agree("embedding_grad", laid_out(torch.randn(*rows, sizes[0]), other), index, entries)
    x = laid_out(torch.randn(*rows, *sizes), layout)
    agree("shift", x, laid_out(torch.randn(sizes), other))
    agree("shift_grad", x, len(sizes))


@pytest.mark.parametrize("shape", [(1500, 64), (16, 4100), (17000, 3)])
def test_rows_of_a_table_of_many_values(shape):
    torch.set_num_threads(3)
    index, gy = (
        torch.randint(11, shape[:1])[::2].repeat_interleave(2)[: shape[0]],
        torch.rand(shape),
    )
    agree("embedding", index, torch.randn(11, shape[1]))
    agree("embedding_grad", gy, index, 13)
    agree("shift", gy, torch.randn(shape[1]))
    agree("shift_grad", gy, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=2),
    st.lists(st.integers(1, 40), min_size=1, max_size=2),
    layouts,
    layouts,
    SEEDS,
)
def test_normalization(rows, sizes, layout, other, seed):
    torch.manual_seed(seed)
    x, gy = torch.randn(*rows, *sizes) + 3, torch.randn(*rows, *sizes)
    dims = tuple(range(len(rows), len(rows) + len(sizes)))
    if math.prod(sizes) == 1:
        x = x * 1e-2  # a variance of 0 makes noise of rounding errors
    weight, bias = torch.randn(sizes), torch.randn(sizes)
    x, gy = laid_out(x, layout), laid_out(gy, other)
    for op in ("standardize", "rms_normalize"):
        agree(op, x, dims, 0.1)
        xhat, scale = getattr(reference, op)(x, dims, 0.1)
        agree(f"{op}_grad" if op == "standardize" else "rms_normalize_grad", gy, xhat, scale, dims)
    agree("scale_shift", x, laid_out(weight, other), bias, len(rows))
    agree("scale_shift", x, weight, None, len(rows))
    agree("scale_shift_grad", gy, x, laid_out(weight, layout), len(rows))


def test_normalization_over_other_dimensions_than_the_last():
    x, gy = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    agree("rms_normalize", x, (1,), 0.1)
    agree("rms_normalize_grad", gy, *reference.rms_normalize(x, (1,), 0.1), (1,))


@pytest.mark.parametrize("shape", [(1500, 64), (2, 40000), (17000, 3)])
def test_normalization_of_many_values(shape):
    torch.set_num_threads(3)
    x, gy = torch.randn(shape) + 1, torch.rand(shape)
    agree("standardize", x, (1,), 0.1)
    xhat, scale = reference.standardize(x, (1,), 0.1)
    agree("standardize_grad", gy, xhat, scale, (1,))
    agree("scale_shift_grad", gy, x, torch.randn(shape[1]), 1)


def test_normalization_over_other_dimensions_is_the_reference():
    x = torch.randn(2, 3, 4, 5)
    got, scale = native.standardize(x, (1,), 1e-5)
    assert torch.equal(got, reference.standardize(x, (1,), 1e-5)[0])
    gx = native.standardize_grad(x, got, scale, (1,))
    assert torch.equal(gx, reference.standardize_grad(x, got, scale, (1,)))
    weight = torch.randn(3)
    y = native.scale_shift(x, weight, None, 1)
    assert torch.equal(y, reference.scale_shift(x, weight, None, 1))
    for one, other in zip(
        native.scale_shift_grad(x, x, weight, 1),
        reference.scale_shift_grad(x, x, weight, 1),
        strict=True,
    ):
        assert torch.equal(one, other)


CURVES: list[tuple[str, tuple[Any, ...]]] = [("gelu", ("none",)), ("gelu", ("tanh",)), ("silu", ())]


@pytest.mark.parametrize(("curve", "options"), CURVES, ids=str)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 16), (2, 3, 4, 5), (20011,)], ids=str)
def test_smooth_activations(curve, options, shape):
    torch.set_num_threads(3)
    x, gy = 4 * torch.randn(shape), torch.randn(shape)
    agree(curve, x, *options)
    agree(f"{curve}_grad", gy, x, *options)
    if len(shape) == 4:
        x, gy = (each.contiguous(memory_format=torch.channels_last) for each in (x, gy))
        agree(curve, x, *options)
        agree(f"{curve}_grad", gy, x, *options)


@pytest.mark.parametrize(("curve", "options"), CURVES, ids=str)
def test_smooth_activations_over_their_whole_range(curve, options):
    x = torch.cat((torch.linspace(-30, 30, 40001), torch.tensor([0.0, 1e-30, 1e9, -1e9])))
    expected = getattr(reference, curve)(x.double(), *options)
    slopes = getattr(reference, f"{curve}_grad")(torch.ones_like(x).double(), x.double(), *options)
    for name in in_turn():
        error = (getattr(native, curve)(x, *options) - expected).abs()
        assert float((error / (1 + x.abs())).max()) < 3e-7, name
        got = getattr(native, f"{curve}_grad")(torch.ones_like(x), x, *options)
        assert float((got - slopes).abs().max()) < 2e-6, name


@pytest.mark.parametrize("value", [NAN, INF])
def test_what_is_no_number_stays_in_its_row(value):
    x = torch.randn(5, 37)
    x[2, 30] = value
    target = torch.tensor([1, 2, 3, 36, 0])
    for _ in in_turn():
        for y in (
            native.gelu(x, "none"),
            native.standardize(x, (1,), 1e-5)[0],
            native.cross_entropy(x, target, None, -100, 0.0)[1],
            native.linear(x, torch.randn(4, 37), None),
        ):
            finite = y.isfinite().all(1)
            assert finite.tolist() == [True, True, False, True, True]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), layouts, SEEDS)
def test_cross_entropy(rows, classes, layout, seed):
    torch.manual_seed(seed)
    logits = laid_out(5 * torch.randn(rows, classes), layout)
    target = torch.randint(classes, (rows,))
    target[torch.rand(rows) < 0.2] = -7
    agree("cross_entropy", logits, target, None, -7, 0.0)
    _, logs, share = reference.cross_entropy(logits, target, None, -7, 0.0)
    for scale in (0.3, torch.tensor(0.3)):
        agree("cross_entropy_grad", logs, target, None, share, -7, 0.0, scale)


def test_cross_entropies_of_other_kinds_are_the_reference():
    logits, target, weight = torch.randn(4, 3), torch.tensor([0, 2, 1, 1]), torch.rand(3)
    for given_weight, smoothing in ((weight, 0.0), (None, 0.1)):
        got = native.cross_entropy(logits, target, given_weight, -100, smoothing)
        expected = reference.cross_entropy(logits, target, given_weight, -100, smoothing)
        assert all(map(torch.equal, got, expected))
    # each value's own gradient
    _, logs, share = reference.cross_entropy(logits, target, None, -100, 0.0)
    settings = (logs, target, None, share, -100, 0.0, torch.rand(4))
    assert torch.equal(
        native.cross_entropy_grad(*settings), reference.cross_entropy_grad(*settings)
    )


def attention_case(
    n: int, heads: int, length: int, sources: int, size: int, kind: str, seed: int
) -> tuple[list[Tensor], tuple[Any, ...]]:
    """Queries, keys, values and an output's gradient; heads, masks, causal, keep and scale."""
    torch.manual_seed(seed)
    wide = heads * size
    inputs = [torch.randn(n, many, wide) for many in (length, sources, sources, length)]
    padding = mask = keep = None
    shape = (n * heads, length, sources) if "each" in kind else (length, sources)
    if "padding" in kind:
        padding = torch.rand(n, sources) < 0.3
        padding[0] = True  # there a query sees nothing
    if "bool" in kind:
        mask = torch.rand(shape) < 0.3
    if "float" in kind:
        mask = torch.randn(shape).masked_fill(torch.rand(shape) < 0.2, -INF)
    if "keep" in kind:
        keep = torch.rand(n, heads, length, sources) < 0.8
    return inputs, (heads, padding, mask, "causal" in kind, keep, 1.25 if "keep" in kind else 1.0)


KINDS = ["", "causal", "padding", "bool", "float each", "causal padding bool each", "causal keep"]


def check_attention(inputs: list[Tensor], options: tuple[Any, ...]) -> None:
    q, k, v, gy = inputs
    agree("attention", q, k, v, *options)
    y, logs = reference.attention(q, k, v, *options)
    agree("attention_grad", gy, q, k, v, y, logs, *options, most=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([*KINDS, "padding keep", "bool each", "float"]),
    layouts,
    SEEDS,
)
def test_attention(n, heads, length, sources, size, kind, layout, seed):
    inputs, options = attention_case(n, heads, length, sources, size, kind, seed)
    check_attention([laid_out(x, layout) for x in inputs], options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(1, 1, 130, 130, 16), (2, 2, 61, 203, 33), (1, 2, 100, 70, 80)])
def test_attention_of_many_positions(kind, sizes):
    torch.set_num_threads(3)  # of few heads, several share one
    n, heads, length, sources, size = sizes
    check_attention(*attention_case(n, heads, length, sources, size, kind, 0))


def test_attention_whose_scores_are_large_does_not_overflow():
    q = torch.full((1, 3, 4), 60.0)
    y, logs = native.attention(q, q, q, 1, None, None, False, None, 1.0)
    assert torch.equal(y, q)
    assert torch.allclose(logs, torch.tensor(7200 + math.log(3)).expand(1, 1, 3))


def test_the_parts_of_one_product_are_not_copied():
    whole = torch.randn(2, 3, 12)
    parts = [*whole.chunk(3, -1)]
    assert native.split_grad(parts).data_ptr() == whole.data_ptr()
    assert torch.equal(native.split_grad(parts), whole)
    for others in (parts[::-1], [x.clone() for x in parts], [*whole.chunk(6, -1)][:2]):
        assert torch.equal(native.split_grad(others), torch.cat(others, -1))


def threaded(threads: int, compute: Callable[[], Any]) -> list[Tensor]:
    torch.set_num_threads(threads)
    found = compute()
    return [*found] if isinstance(found, tuple) else [found]


def test_results_do_not_depend_on_the_number_of_threads():
    inputs, options = attention_case(2, 3, 70, 70, 8, "causal", 0)
    q, k, v, gy = inputs
    y, logs = native.attention(q, k, v, *options)
    x, weight, target = torch.randn(900, 40), torch.randn(40), torch.randint(40, (900,))
    computations: list[Callable[[], Any]] = [
        lambda: native.attention(q, k, v, *options),
        lambda: native.attention_grad(gy, q, k, v, y, logs, *options),
        lambda: native.standardize(x, (1,), 1e-5),
        lambda: native.scale_shift_grad(x, x, weight, 1),
        lambda: native.gelu_grad(x, x, "none"),
        lambda: native.cross_entropy(x, target, None, -100, 0.0),
        lambda: native.linear(x, torch.ones(30, 40), None),
        lambda: native.embedding(target, x),
        lambda: native.embedding_grad(x, target, 40),
        lambda: native.shift(x, weight),
        lambda: native.shift_grad(x, 1),
    ]
    for compute in computations:
        expected = threaded(1, compute)
        for threads in (2, 3, 5):
            assert all(map(torch.equal, threaded(threads, compute), expected))


def test_several_python_threads_at_once():
    torch.set_num_threads(2)
    cases = [attention_case(1, 2, 40 + i, 50, 8, "causal", i) for i in range(6)]

    def compute(number: int) -> bool:
        (q, k, v, gy), options = cases[number % len(cases)]
        with chainrule.use_backend("native"):
            y, logs = ops.attention(q, k, v, *options)
            found = ops.attention_grad(gy, q, k, v, y, logs, *options)
        y, logs = reference.attention(q, k, v, *options)
        expected = reference.attention_grad(gy, q, k, v, y, logs, *options)
        return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(compute, range(60)))
