"""Model files of strangers: whatever one claims, it costs no more than its bytes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from chainrule.serialization import load_shapes, load_tensors, save_tensors
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.model_file import read_model


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        Denoiser.load(path)
    text = str(refused.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 600 + len(str(path))
    return text


def claiming(path: Path, sizes: str, architecture: str = "compact") -> Path:
    """The model file with another claim about its sizes."""
    tensors, metadata = load_tensors(path)
    metadata |= {"sizes": sizes, "architecture": architecture}
    save_tensors(path, tensors, metadata, overwrite=True)
    return path


ABSURD = [
    '{"width": 4611686018427387904}',
    '{"width": 1099511627776}',
    '{"width": 65536, "depth": 64, "blocks": 64}',
    '{"depth": 14}',
    '{"depth": 1000000000}',
    '{"blocks": 1000000000}',
    '{"width": -8}',
    '{"width": 8.0}',
    '{"width": NaN}',
    '{"width": Infinity}',
    '{"width": true}',
    '{"width": null}',
    '{"width": "8"}',
    '{"width": {"width": {"width": 8}}}',
    '{"width": 1' + "0" * 900 + "}",
    "[" * 900,
    "[" * 1_000_000,
    '{"width": 8}' + " " * 1_000_000,
    "8",
    "null",
    '["width"]',
    "",
    "{'width': 8}",
]


@pytest.mark.parametrize("sizes", ABSURD, ids=lambda sizes: sizes[:40] or "nothing")
def test_an_absurd_size_is_refused_in_one_sentence(make_model, sizes):
    assert "is not a model of this package" in refusal(claiming(make_model(), sizes))


@pytest.mark.parametrize("architecture", ["mery-skip", "unet", "zhao", "coldenhoff", "hilsberg"])
def test_no_architecture_can_be_asked_for_what_is_not_there(make_model, architecture):
    path = make_model()
    for sizes in ('{"width": 65536, "depth": 64}', '{"width": 4611686018427387904}', "{}"):
        refusal(claiming(path, sizes, architecture))


def test_what_a_file_claims_takes_neither_memory_nor_time(make_model, tmp_path):
    # Depth 14 asks for 60 TB. The rest of the package is loaded before the limit is drawn.
    paths = [
        str(claiming(make_model(f"{number}.safetensors"), sizes))
        for number, sizes in enumerate(ABSURD[:6])
    ]
    code = (
        "import json, resource, sys\n"
        "from noise2noise.denoiser import Denoiser\n"
        "from noise2noise.errors import UserError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        Denoiser.load(path)\n"
        "    except UserError:\n"
        "        continue\n"
        "    sys.exit(1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    started = time.process_time()
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 100e6
    assert time.process_time() - started < 30


def test_a_long_header_is_refused_unread(make_model):
    path = make_model()
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length] + b" " * 2**24
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert "has a header of" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.uint8])
def test_weights_of_other_kinds_than_floats_are_refused(make_model, dtype):
    path = make_model()
    tensors, metadata = load_tensors(path)
    name = next(iter(tensors))
    save_tensors(path, {**tensors, name: tensors[name].to(dtype)}, metadata, overwrite=True)
    assert f"its weight {name} holds {dtype}" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_become_float32(make_model, dtype):
    path = make_model()
    tensors, metadata = load_tensors(path)
    kept = {name: value.to(dtype) for name, value in tensors.items()}
    save_tensors(path, kept, metadata, overwrite=True)
    network, _ = read_model(path, "half")
    for name, value in network.state_dict().items():
        assert value.dtype is torch.float32
        assert torch.equal(value, kept[name].float())


def test_a_weight_that_is_infinite_in_float32_is_refused(make_model):
    path = make_model()
    tensors, metadata = load_tensors(path)
    name = next(iter(tensors))
    large = torch.full(tensors[name].shape, 1e300, dtype=torch.float64)
    save_tensors(path, {**tensors, name: large}, metadata, overwrite=True)
    assert f"its weight {name} holds NaN or infinite values" in refusal(path)


def test_a_weight_too_many_or_too_few_is_named(make_model):
    path = make_model()
    tensors, metadata = load_tensors(path)
    save_tensors(path, {**tensors, "more\n\x1b[31m": torch.zeros(1)}, metadata, overwrite=True)
    text = refusal(path)
    assert "has a weight 'more\\n\\x1b[31m'" in text
    name = next(iter(tensors))
    save_tensors(path, {k: v for k, v in tensors.items() if k != name}, metadata, overwrite=True)
    assert f"its weight {name} is missing" in refusal(path)


def test_a_title_can_t_write_over_the_terminal(make_model):
    path = make_model()
    tensors, metadata = load_tensors(path)
    metadata["title"] = "fine\x1b[2J\r\n" + "words " * 1000
    save_tensors(path, tensors, metadata, overwrite=True)
    title = Denoiser.load(path).info.title
    assert title.startswith("fine [2J words")
    assert title.isprintable()
    assert len(title) <= 200


def test_the_shapes_of_a_file_are_those_of_its_tensors(make_model):
    path = make_model()
    tensors, metadata = load_tensors(path)
    assert load_shapes(path) == ({name: t.shape for name, t in tensors.items()}, metadata)
    assert json.loads(metadata["sizes"]) == {"width": 8}
