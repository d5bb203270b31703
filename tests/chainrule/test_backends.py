"""Which backend computes, who decides, and what happens without the compiled kernels."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

import chainrule
from chainrule import MSE, SGD, Conv2d, ReLU, Sequential, ops, use_backend
from chainrule.ops import reference
from chainrule.ops.backends import Backend, on

compiled = pytest.mark.skipif(
    importlib.util.find_spec("chainrule._native") is None
    or os.environ.get("CHAINRULE_BACKEND") == "reference",
    reason="the kernels are not compiled, or kept out",
)

ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "chainrule._native":
            raise ModuleNotFoundError("No module named 'chainrule._native'", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, tiles = chainrule.backend(), chainrule.winograd()
    yield
    chainrule.backend(before)
    chainrule.winograd(tiles)


def run(script: str, **environment: str) -> tuple[str, str]:
    """What `script` prints, on both streams, in a process of its own."""
    inherited = {key: value for key, value in os.environ.items() if "CHAINRULE" not in key}
    # As this Python was told to find no packages of its own, so is that one.
    alone = ["-S"] if sys.flags.no_site else []
    finished = subprocess.run(
        [sys.executable, *alone, "-c", script],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, finished.stderr


def test_the_backend_is_told_and_set():
    assert chainrule.backend("reference") == "reference"
    assert chainrule.backend() == "reference"
    assert on(torch.zeros(1)) is reference


@pytest.mark.parametrize("ask", [chainrule.backend, lambda name: use_backend(name).__enter__()])
def test_there_is_no_other_backend(ask):
    before = chainrule.backend()
    with pytest.raises(ValueError, match='no backend \'cuda\'; choose "native" or "reference"'):
        ask("cuda")
    assert chainrule.backend() == before


@compiled
def test_a_backend_for_a_while():
    chainrule.backend("native")
    with use_backend("reference"):
        assert chainrule.backend() == "reference"
        with use_backend("native"):
            assert chainrule.backend() == "native"
        assert chainrule.backend() == "reference"
    assert chainrule.backend() == "native"
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert chainrule.backend() == "native"


@compiled
def test_only_float32_on_the_cpu_is_native():
    chainrule.backend("native")
    assert on(torch.zeros(1)).__name__ == "chainrule.ops.native"
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert on(torch.zeros(1, dtype=dtype)) is reference
        x = torch.ones(1, 2, 3, 3, dtype=dtype)
        y = ops.conv2d(x, torch.ones(1, 2, 2, 2, dtype=dtype))
        assert y.dtype is dtype
        assert y.tolist() == [[[[8, 8], [8, 8]]]]
    assert on(torch.zeros(1, device="meta")) is reference


@compiled
def test_both_train_alike():
    def losses(name: Backend) -> list[float]:
        torch.manual_seed(0)
        model = Sequential(Conv2d(3, 16, 3, padding="same"), ReLU(), Conv2d(16, 3, 3, padding=1))
        x, optimizer, loss = torch.rand(4, 3, 12, 12), SGD(model.param(), lr=0.1), MSE()
        values = []
        with use_backend(name):
            for _ in range(20):
                values.append(float(loss.forward(model.forward(x), x)))
                model.zero_grad()
                model.backward(loss.backward(), input_gradient=False)
                optimizer.step()
        return values

    native, expected = losses("native"), losses("reference")
    assert native == pytest.approx(expected, rel=1e-4)
    assert native[-1] < native[0]


@compiled
def test_the_default_dtype_changes_nothing():
    chainrule.backend("native")
    x, w = torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3)

    def results() -> list[torch.Tensor]:
        y = ops.conv2d(x, w)
        gx, gw = ops.conv2d_input_grad(y, w, (8, 8)), ops.conv2d_weight_grad(x, y, (3, 3))
        pooled, places = ops.max_pool2d(x, 2, 2)
        loss = ops.squared_error(y, y.relu())
        return [y, gx, gw, pooled, places, ops.add(x, x), ops.sigmoid(x), loss]

    expected = results()
    torch.set_default_dtype(torch.float64)
    try:
        got = results()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype is other.dtype
        assert torch.equal(one, other)


def test_winograd_is_told_and_set():
    assert chainrule.winograd(False) is False
    assert chainrule.winograd() is False
    assert chainrule.winograd(True) is True


@compiled
def test_winograd_is_switched_off():
    """Without it every sum of these products is exact."""
    chainrule.backend("native")
    x, w = torch.randint(-8, 9, (1, 64, 20, 20)) / 8, torch.randint(-8, 9, (64, 64, 3, 3)) / 8
    expected = ops.conv2d(x.double(), w.double())
    chainrule.winograd(True)
    assert not torch.equal(ops.conv2d(x, w).double(), expected)
    chainrule.winograd(False)
    assert torch.equal(ops.conv2d(x, w).double(), expected)


@pytest.fixture
def at_first(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As if nothing had been computed yet."""
    monkeypatch.setattr("chainrule.ops.backends._selected", None)
    return monkeypatch


@compiled
@pytest.mark.parametrize("wish", [None, "", "native", "reference"])
def test_the_environment_decides_at_first(wish, at_first):
    at_first.delenv("CHAINRULE_BACKEND", raising=False)
    if wish is not None:
        at_first.setenv("CHAINRULE_BACKEND", wish)
    ops.relu(torch.zeros(3))
    assert chainrule.backend() == (wish or "native")
    chainrule.backend("reference")
    assert chainrule.backend() == "reference"


def test_an_environment_with_no_such_backend(at_first):
    at_first.setenv("CHAINRULE_BACKEND", "cuda")
    for _ in range(2):
        with pytest.raises(ValueError, match="there is no backend 'cuda'; choose"):
            ops.relu(torch.zeros(3))


def test_kept_out_by_the_environment_the_kernels_are_not_even_loaded():
    script = """
import sys, torch, chainrule
chainrule.Conv2d(1, 1, 1)(torch.zeros(1, 1, 2, 2))
print(chainrule.backend(), chainrule.winograd())
print("chainrule._native" in sys.modules, "chainrule.ops.native" in sys.modules)
"""
    expected = ("reference False\nFalse False\n", "")
    assert run(script, CHAINRULE_BACKEND="reference", CHAINRULE_WINOGRAD="0") == expected


def test_without_the_kernels_everything_works_and_says_so_once():
    script = f"""{ABSENT}
import sys, torch, chainrule
from chainrule import Conv2d, MSE, ReLU, SGD, Sequential

print("imported", file=sys.stderr)
model = chainrule.fuse(Sequential(Conv2d(1, 4, 3), ReLU(), Conv2d(4, 1, 3)))
optimizer, loss, x = SGD(model.param(), lr=0.1), MSE(), torch.rand(2, 1, 8, 8)
for _ in range(3):
    loss.forward(model.forward(x), x[:, :, 2:-2, 2:-2])
    model.backward(loss.backward())
    optimizer.step()
model.infer(x)
print(chainrule.backend())
try:
    chainrule.backend("native")
except ImportError as error:
    print(error)
print(chainrule.backend())
"""
    printed, said = run(script)
    first, line = said.splitlines()
    assert first == "imported"  # importing alone says nothing
    assert line.startswith(
        "chainrule runs without its compiled kernels, several times slower: no C++ compiler was "
        "found when it was installed (install one, then install chainrule again; "
    )
    assert printed.splitlines() == ["reference", line, "reference"]
