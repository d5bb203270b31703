"""Every gradient is written by hand: no file of the two packages borrows PyTorch's.

Looks at the syntax trees. The reference ops may use of torch what their docstring names; no other
file may reach `torch.nn`, a convolution or one of its relatives, or turn autograd on. Two files are
set apart: the rival that ours are measured beside, which only measurements may import; and the
bridge, which hands a pass of ours on to autograd, and which no other file is built on.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
BRIDGE = SOURCES / "chainrule" / "torch_bridge.py"
RIVAL = SOURCES / "noise2noise" / "benchmark" / "twins.py"
FILES = sorted(
    path
    for name in ("src/chainrule", "src/noise2noise", "ee559")
    for path in ROOT.glob(f"{name}/**/*.py")
    if path not in (BRIDGE, RIVAL)
)
REFERENCE = sorted((SOURCES / "chainrule" / "backends" / "reference").glob("*.py"))

ALLOWED_IN_REFERENCE = {
    "torch.Tensor",
    "torch.empty",
    "torch.cat",
    "torch.arange",
    "torch.nn.functional.fold",
    "torch.nn.functional.unfold",
}
ALLOWED = {
    "torch.autograd.graph.increment_version",  # counts writes through pointers, no gradient
    "torch.autograd._profiler_enabled",  # tells whether a profiler runs
}
FORBIDDEN_PARTS = {
    "nn",  # torch.nn, torch.ao.nn, ...
    "autograd",
    "func",
    "enable_grad",
    "grad_mode",
    "jit",
    "compile",
    "ops",
    "library",
}
FORBIDDEN_FUNCTIONS = re.compile(
    r"(conv|_conv|max_pool|avg_pool|adaptive_|_adaptive|fractional_|lp_pool|batch_norm|"
    r"_batch_norm|native_|instance_norm|group_norm|layer_norm|upsample|_upsample|interpolate|"
    r"pixel_|grid_sampler|cudnn|mkldnn|miopen|_C$|_VF$|_nn)"
)


def violations(source: str, is_reference: bool = False) -> list[str]:
    """What the text of a Python file uses of torch and must not, each with its line."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    found = [*_bad_imports(tree, is_reference), *_bad_expressions(tree, names, is_reference)]
    return [f"line {line}: {what}" for line, what in sorted(set(found))]


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Local names of what is imported, with what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                yield name, alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _bad_imports(tree: ast.AST, is_reference: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            (node.lineno, f"imports {path}") for path in paths if _is_bad(path, is_reference)
        )


def _bad_expressions(
    tree: ast.AST, names: dict[str, str], is_reference: bool
) -> Iterator[tuple[int, str]]:
    behind_a_dot = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and names.get(node.id) == "torch"
            and id(node) not in behind_a_dot
        ):
            yield node.lineno, "hands torch itself on"  # getattr(torch, ...), t = torch, ...
        if isinstance(node, ast.Attribute):
            path = _path(node, names)
            if path and _is_bad(path, is_reference):
                yield node.lineno, f"uses {path}"
            if node.attr == "requires_grad_":
                yield node.lineno, "calls requires_grad_"
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(
                isinstance(each, ast.Attribute) and each.attr == "requires_grad" for each in targets
            ):
                yield node.lineno, "sets requires_grad"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _bad_call(node, names))


def _bad_call(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "requires_grad" and not _is_false(keyword.value):
            yield "passes requires_grad"
    function = _path(call.func, names) or ""
    last = function.rpartition(".")[2]
    first = call.args[0] if call.args else None
    if last == "set_grad_enabled" and not (first is not None and _is_false(first)):
        yield "calls set_grad_enabled"
    if last in ("inference_mode", "no_grad") and first is not None and _is_false(first):
        yield f"calls {last}(False)"
    if function in ("exec", "eval"):  # no method of that name, as model.eval() is
        yield f"calls {function}"
    if last in ("import_module", "__import__") and _may_be_torch(first):
        yield f"calls {last}"
    if last in ("getattr", "attrgetter", "setattr") and any(
        isinstance(each, ast.Constant) and each.value in FORBIDDEN_PARTS | {"requires_grad"}
        for each in call.args
    ):
        yield f"calls {last}"


def _may_be_torch(module: ast.expr | None) -> bool:
    """Whether a computed name might be one of PyTorch's: not where it begins as one of ours."""
    if isinstance(module, ast.JoinedStr):
        begins = module.values[0]
        return not (
            isinstance(begins, ast.Constant) and str(begins.value).startswith((".", "noise2noise."))
        )
    return not isinstance(module, ast.Constant) or str(module.value).startswith("torch")


def _path(node: ast.expr, names: dict[str, str]) -> str | None:
    """`a.b.c` with `a` replaced by what was imported under that name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (owner := _path(node.value, names)):
        return f"{owner}.{node.attr}"
    return None


def _is_bad(path: str, is_reference: bool) -> bool:
    parts = path.split(".")
    if parts[0] in ("torchvision", "functorch", "torch_xla"):
        return True
    if parts[0] != "torch" or path in ALLOWED:
        return False
    if is_reference:
        return path not in ALLOWED_IN_REFERENCE
    return (
        "*" in parts
        or not FORBIDDEN_PARTS.isdisjoint(parts[1:])
        or any(FORBIDDEN_FUNCTIONS.match(part) for part in parts[1:])
    )


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_gradient_is_written_by_hand(path: Path):
    assert violations(path.read_text(encoding="utf-8"), path in REFERENCE) == []


def test_only_measurements_meet_the_rival():
    for path in FILES:
        if path.parent.name not in ("benchmark", "studies"):
            assert "benchmark.twins" not in path.read_text(encoding="utf-8")
            assert "import twins" not in path.read_text(encoding="utf-8")


def test_nothing_is_built_on_the_bridge():
    for path in FILES:
        if path != SOURCES / "chainrule" / "__init__.py":
            assert not re.search(r"torch_bridge|as_torch\(", _code(path)), path


def test_the_bridge_computes_nothing_itself():
    used = set(re.findall(r"\bnn\.(\w+)|\btorch\.(\w+)", _code(BRIDGE)))
    assert {first or second for first, second in used} <= {
        "Module",
        "Parameter",
        "Tensor",
        "autocast",
        "autograd",
        "float32",
        "is_autocast_enabled",
        "is_grad_enabled",
    }


def _code(path: Path) -> str:
    """The file's code without its comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0] = ast.Pass()
    return ast.unparse(tree)


def test_all_files_are_looked_at():
    assert REFERENCE
    assert set(REFERENCE) <= set(FILES)
    assert {path.parent.name for path in FILES} >= {
        "chainrule",
        "layers",
        "backends",
        "noise2noise",
    }


@pytest.mark.parametrize(
    "snippet",
    [
        "import torch.nn",
        "import torch.nn as anything",
        "import torch.nn.functional as F",
        "from torch import nn",
        "from torch import nn as n",
        "from torch import *",
        "from torch.nn import Conv2d",
        "from torch.nn.functional import fold",
        "from torch.nn.utils import clip_grad_norm_",
        "from torch import conv2d",
        "from torch import autograd",
        "from torch.autograd import Function",
        "from torch.autograd.grad_mode import enable_grad",
        "import torch\ntorch.nn.functional.relu(x)",
        "import torch\nclass Mine(torch.nn.Module): pass",
        "import torch as t\nt.nn.Linear(1, 1)",
        "def late():\n    import torch.nn.functional\n    return torch.nn.functional.relu",
        "import torch\nlayers = getattr(torch, 'nn')",
        "import torch\nt = torch\nt.nn",
        "import importlib\nimportlib.import_module('torch.nn')",
        "import importlib\nname = 'torch.nn'\nimportlib.import_module(name)",
        "__import__('torch.nn')",
        "exec('import torch.nn')",
        "import torch\ntorch.conv2d(x, w)",
        "import torch\ntorch.conv_transpose2d(x, w)",
        "import torch\ntorch.convolution(x, w)",
        "import torch\ntorch.max_pool2d(x, 2)",
        "import torch\ntorch.avg_pool1d(x, 2)",
        "import torch\ntorch.adaptive_avg_pool1d(x, 2)",
        "import torch\ntorch.batch_norm(x)",
        "import torch\ntorch.native_batch_norm(x)",
        "import torch\ntorch.mkldnn_convolution(x)",
        "import torch\ntorch.ops.aten.convolution(x)",
        "import torch\ntorch._C._nn.upsample_nearest2d(x)",
        "import torch\ntorch.func.grad(f)",
        "import torch\ntorch.enable_grad()",
        "import torch\ntorch.set_grad_enabled(True)",
        "import torch\ntorch.set_grad_enabled(mode=True)",
        "import torch\ntorch.set_grad_enabled(mode)",
        "from torch import set_grad_enabled as switch\nswitch(True)",
        "import torch\ntorch.inference_mode(False)",
        "import torch\ntorch.zeros(3, requires_grad=True)",
        "import torch\ntorch.zeros(3, requires_grad=flag)",
        "x.requires_grad_()",
        "x.requires_grad = True",
        "setattr(x, 'requires_grad', True)",
        "import torch\ntorch.autograd.grad(y, x)",
        "import functorch",
        "import torchvision.ops",
        'importlib.import_module(f"{name}.functional")',
        'importlib.import_module(f"torch.{name}")',
    ],
)
def test_the_check_goes_red(snippet):
    assert violations(snippet)


@pytest.mark.parametrize(
    "snippet",
    [
        "import torch",
        "from torch import zeros",
        "from torch import nn",
        "from torch.nn.functional import conv2d",
        "from torch.nn.functional import fold, unfold, relu",
        "import torch.nn.functional",
    ],
)
def test_the_check_of_the_reference_goes_red(snippet):
    assert violations(snippet, is_reference=True)


def test_what_is_allowed_is_not_complained_of():
    allowed = """
import torch
from torch import Tensor, Size
from chainrule import ops
from chainrule.ops import conv2d
torch.set_grad_enabled(False)
with torch.no_grad():
    y = ops.conv2d(x, w)
torch.load(path, weights_only=True)
model.eval()
torch.zeros(3, requires_grad=False)
x.requires_grad
model.backward(gy)
torch.optim.lr_scheduler
importlib.import_module(f".{name}", package)
importlib.import_module(f"noise2noise.cli.{name}")
"""
    assert violations(allowed) == []
    reference = "from torch import Tensor, cat, empty, arange\nfrom torch.nn.functional import fold"
    assert violations(reference, is_reference=True) == []
