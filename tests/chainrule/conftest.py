"""How the tests compare a layer with its PyTorch twin, whose autograd is the oracle."""

import gc
import math
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from chainrule import Module

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tensors this small are done before a second thread has woken up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _arranged(values: Tensor, layout: str) -> Tensor:
    if layout == "contiguous":
        return values.contiguous()
    if layout == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return values.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    if layout == "gaps":
        return torch.stack((values, torch.full_like(values, math.nan)), -1)[..., 0]
    assert layout == "expanded"
    return values[:1, :, :1].expand(values.shape)


@pytest.fixture(scope="session")
def arranged() -> Callable[[Tensor, str], Tensor]:
    """`arranged(values, layout)`: the values laid out in memory as `layout` says.

    "expanded" repeats the first sample's first row without copying it, so it changes the values.
    """
    return _arranged


def _assert_near(got: Tensor | None, expected: Tensor | None, what: str = "values") -> None:
    assert got is not None
    assert expected is not None
    expected = expected.detach()
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    if not got.is_floating_point():
        assert torch.equal(got, expected), what
        return
    error, largest = float((got - expected).abs().max()), float(expected.abs().max())
    assert error <= TOLERANCE[got.dtype] * largest, f"{what}: {error} beside {largest}"


@pytest.fixture(scope="session")
def assert_near() -> Callable[..., None]:
    """`assert_near(got, expected)`: within 1e-10 (float64) or 1e-5 (float32) of the largest one."""
    return _assert_near


@pytest.fixture(scope="session")
def assert_twin() -> Callable[..., None]:
    """`assert_twin(ours, theirs, x, layout)`: the same output, gradients and buffers.

    The weights of `ours` are copied into the `torch.nn` module `theirs`. The output's gradient is
    random, laid out in memory by `layout`.
    """

    def check(ours: Module, theirs: torch.nn.Module, x: Tensor, layout: str = "contiguous") -> None:
        ours.to(x.dtype)
        theirs.to(x.dtype)
        theirs.load_state_dict(ours.state_dict())
        theirs.train(ours.training)
        ours.zero_grad()
        theirs.zero_grad()
        source = x.detach().clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of the cost of an even "same"
            expected = theirs(source)
        y = ours.forward(x)
        _assert_near(y, expected, "output")

        # All above zero: what cancels in a sum leaves nothing to measure float32's error by.
        gy = _arranged(0.1 + torch.rand_like(expected), layout)
        expected.backward(gy)
        _assert_near(ours.backward(gy), source.grad, "gradient of the input")
        gradients = {name: value.grad for name, value in ours.named_parameters()}
        for name, value in theirs.named_parameters():
            _assert_near(gradients.pop(name), value.grad, f"gradient of {name}")
        assert not gradients
        state = ours.state_dict()
        for name, value in theirs.named_buffers():
            _assert_near(state[name], value, name)

    return check


@pytest.fixture(scope="session")
def assert_starts_alike() -> Callable[..., None]:
    """`assert_starts_alike(ours, theirs)`: two constructors make the same state from one seed.

    Names, order, shapes, dtypes and values: so the initial distribution is the same, too.
    """

    def check(ours: Callable[[], Module], theirs: Callable[[], torch.nn.Module]) -> None:
        torch.manual_seed(5)
        state = ours().state_dict()
        torch.manual_seed(5)
        expected = theirs().state_dict()
        assert list(state) == list(expected)
        for name, value in expected.items():
            _assert_near(state[name], value, name)

    return check


@pytest.fixture(scope="session")
def smooth_input() -> Callable[..., Tensor]:
    """`smooth_input(*shape)`: float64 values 0.1 apart from each other and 0.05 from zero.

    So far from kinks and ties that central differences don't notice them.
    """

    def values(*shape: int) -> Tensor:
        count = math.prod(shape)
        order = torch.randperm(count, dtype=torch.float64) - count // 2
        return ((order + 0.5) * 0.1).reshape(shape)

    return values


@pytest.fixture
def live_bytes() -> Callable[[], int]:
    """`live_bytes()`: bytes of all tensors that anything still refers to, shared ones once."""

    def count() -> int:
        tensors = [thing for thing in gc.get_objects() if type(thing) is Tensor]
        dense = [value for value in tensors if value.layout == torch.strided]
        storages = [value.untyped_storage() for value in dense if value.device.type == "cpu"]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    gc.collect()
    return count
