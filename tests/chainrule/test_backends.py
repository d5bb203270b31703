"""Which backend computes, who decides, and what happens without the compiled kernels."""

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import chainrule
from chainrule import MSE, SGD, Conv2d, ReLU, Sequential, ops, use_backend
from chainrule.backends import on, reference, register, table

compiled = pytest.mark.skipif(
    importlib.util.find_spec("chainrule._native") is None
    or os.environ.get("CHAINRULE_BACKEND") == "reference",
    reason="the kernels are not compiled, or kept out",
)

WITHOUT_KERNELS = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "chainrule._native":
            raise {error}

sys.meta_path.insert(0, Finder())
"""
ABSENT = "ModuleNotFoundError(\"No module named 'chainrule._native'\", name=name)"
BROKEN = "ImportError('libstdc++.so.6: version GLIBCXX_3.4.32 not found', name=name)"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before, tiles, known = chainrule.backend(), chainrule.winograd(), dict(table._backends)
    yield
    table._backends.clear()
    table._backends.update(known)
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
    assert on(torch.zeros(1)).add is reference.add


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


class Counting:
    """A backend of two ops that counts how often it was asked, and leaves the rest to others."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def activation(self, x: torch.Tensor, epilogue: ops.Epilogue) -> torch.Tensor:
        self.calls.append("activation")
        return reference.activation(x, epilogue)

    def activation_grad(
        self, gy: torch.Tensor, y: torch.Tensor, epilogue: ops.Epilogue
    ) -> torch.Tensor:
        self.calls.append("activation_grad")
        return reference.activation_grad(gy, y, epilogue)


def test_a_backend_of_two_ops_takes_them_over_in_one_thread():
    toy, model, x = Counting(), Sequential(Conv2d(3, 4, 3), ReLU()), torch.randn(1, 3, 8, 8)
    before, expected = chainrule.backend(), model.infer(x)

    def elsewhere() -> tuple[str, torch.Tensor]:
        return chainrule.backend(), model.infer(x)

    with use_backend(toy), ThreadPoolExecutor(1) as other:
        assert chainrule.backend() == "Counting"
        y = model.forward(x)
        model.backward(y)
        name, theirs = other.submit(elsewhere).result()
    assert toy.calls == ["activation", "activation_grad"]
    assert name == before
    assert torch.equal(theirs, expected)
    assert torch.allclose(y, expected, atol=1e-5)
    model.infer(x)
    assert len(toy.calls) == 2


def test_threads_that_overlap_leave_the_backend_as_it_was():
    """The first to come is not the last to go."""
    before = chainrule.backend()
    came, left = threading.Event(), threading.Event()
    seen = []

    def first() -> None:
        with use_backend("reference"):
            came.wait(10)
        left.set()

    def second() -> None:
        with use_backend(Counting()):
            came.set()
            left.wait(10)
            seen.append(chainrule.backend())

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["Counting"]
    assert chainrule.backend() == before


def test_a_gpu_that_triton_does_not_compile_for_has_the_reference(monkeypatch):
    monkeypatch.setattr(table, "_backends", {"reference": table.REFERENCE})
    monkeypatch.setattr(table, "_standard", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (6 + 3 * place, 1))
    assert chainrule.backend(device="cuda") == "reference"
    assert "triton" not in table._backends


def test_without_compiled_kernels_what_is_registered_serves_all_the_same(monkeypatch):
    monkeypatch.setattr(table, "_backends", {"reference": table.REFERENCE})
    monkeypatch.setattr(table, "_standard", None)
    monkeypatch.setitem(sys.modules, "chainrule._native", None)
    monkeypatch.delitem(sys.modules, "chainrule.backends.native", raising=False)
    monkeypatch.delenv("CHAINRULE_BACKEND", raising=False)
    table._backends["toy"] = table._as_backend(Counting(), "toy", (("meta", torch.float32),))
    assert chainrule.backend() == "reference"
    assert chainrule.backend(device="meta") == "toy"
    monkeypatch.setattr(table, "_standard", None)
    monkeypatch.setenv("CHAINRULE_BACKEND", "reference")  # wished for, it is for all
    assert chainrule.backend(device="meta") == "reference"


def test_a_registered_backend_serves_its_device_and_dtype_and_has_a_name():
    toy, before = Counting(), chainrule.backend()
    register("toy", toy, serves=[("cpu", torch.float64)])
    ops.relu(torch.zeros(3))
    assert toy.calls == []
    ops.relu(torch.zeros(3, dtype=torch.float64))
    assert toy.calls == ["activation"]
    assert chainrule.backend() == before
    chainrule.backend(before)  # what was registered stays registered, but for "reference"
    assert on(torch.zeros(1, dtype=torch.float64)).name == (
        "reference" if before == "reference" else "toy"
    )
    with use_backend("reference"):
        ops.relu(torch.zeros(3, dtype=torch.float64))
    assert len(toy.calls) == 1
    register("everything", toy)
    with use_backend("everything"):
        assert chainrule.backend() == "everything"
    with pytest.raises(ValueError, match="take another name"):
        register("reference", toy)


@compiled
def test_only_float32_on_the_cpu_is_native():
    chainrule.backend("native")
    assert on(torch.zeros(1)).name == "native"
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert on(torch.zeros(1, dtype=dtype)).name == "reference"
        x = torch.ones(1, 2, 3, 3, dtype=dtype)
        y = ops.conv2d(x, torch.ones(1, 2, 2, 2, dtype=dtype))
        assert y.dtype is dtype
        assert y.tolist() == [[[[8, 8], [8, 8]]]]
    assert on(torch.zeros(1, device="meta")).name == "reference"


@compiled
def test_both_train_alike():
    def losses(name: str) -> list[float]:
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
    monkeypatch.setattr("chainrule.backends.table._standard", None)
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
print("chainrule._native" in sys.modules, "chainrule.backends.native" in sys.modules)
"""
    expected = ("reference False\nFalse False\n", "")
    assert run(script, CHAINRULE_BACKEND="reference", CHAINRULE_WINOGRAD="0") == expected


def test_without_the_kernels_everything_works_and_says_so_once():
    script = f"""{WITHOUT_KERNELS.format(error=ABSENT)}
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
    assert line == (
        "chainrule runs without its compiled kernels, several times slower: they were not built "
        "when it was installed (install GCC or Clang, then install noise2noise again)"
    )
    assert printed.splitlines() == ["reference", line, "reference"]


def test_kernels_that_are_there_but_cannot_be_loaded_say_why():
    script = f"""{WITHOUT_KERNELS.format(error=BROKEN)}
import torch, chainrule
chainrule.Conv2d(1, 1, 1)(torch.zeros(1, 1, 2, 2))
"""
    assert run(script)[1].splitlines() == [
        "chainrule runs without its compiled kernels, several times slower: they are there but "
        "can't be loaded (libstdc++.so.6: version GLIBCXX_3.4.32 not found); "
        "install noise2noise again"
    ]
