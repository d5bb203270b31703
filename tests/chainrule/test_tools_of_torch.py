"""What PyTorch's tools see of a model: its profiler, autocast, threads, workers, other devices."""

import subprocess
import sys
import threading

import pytest
import torch

from chainrule import Conv2d, Embedding, Linear, ReLU, Sequential


def small() -> Sequential:
    return Sequential(Conv2d(3, 4, 3), ReLU())


def test_a_profiler_sees_each_pass_and_each_op():
    model, x = small(), torch.randn(1, 3, 8, 8)
    expected = model.infer(x)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        y = model(x)
        model.backward(torch.ones_like(y))
    names = {event.key for event in profile.key_averages()}
    assert names >= {
        "chainrule::Sequential.run",
        "chainrule::Sequential.back",
        "chainrule::block",
        "chainrule::block_parameter_grads",
        "chainrule::activation",
    }
    assert torch.equal(y, expected)


@pytest.mark.parametrize("use", [Sequential.forward, Sequential.infer, Sequential.pullback])
def test_autocast_is_refused_in_a_sentence(use):
    model, x = small(), torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="autocast doesn't reach"):
        use(model, x)
    with torch.autocast("cpu"), torch.autocast("cpu", enabled=False):
        use(model, x)


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (small(), torch.empty(1, 3, 8, 8, device="meta")),
        (Linear(3, 3), torch.empty(1, 3, device="meta")),
        (Embedding(3, 3), torch.empty(1, 3, device="meta", dtype=torch.int64)),
    ],
)
def test_a_model_and_an_input_on_two_devices_are_named(model, x):
    message = r"the input is on meta and the weight on cpu; move one of them with \.to\(device\)"
    with pytest.raises(ValueError, match=message):
        model(x)


def test_threads_share_a_model():
    model, images = small(), torch.randn(8, 1, 3, 8, 8)
    expected = [model.infer(x) for x in images]
    found: dict[int, torch.Tensor] = {}

    def infer(place: int) -> None:
        found[place] = model.infer(images[place])

    threads = [threading.Thread(target=infer, args=(place,)) for place in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[place], y) for place, y in enumerate(expected))


IN_WORKERS = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset
from chainrule import Conv2d, ReLU, Sequential


class Denoised(Dataset):
    def __init__(self, model):
        self.model = model

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.model.infer(torch.full((1, 3, 8, 8), float(index)))[0]


if __name__ == "__main__":
    data = Denoised(Sequential(Conv2d(3, 4, 3, padding=1), ReLU(), Conv2d(4, 3, 3, padding=1)))
    expected = torch.stack([data[index] for index in range(4)])
    workers = DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context=sys.argv[1])
    assert torch.equal(torch.cat([*workers]), expected)
"""


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_model_computes_in_the_workers_of_a_data_loader(tmp_path, context):
    """In a program of its own: the worker that is spawned imports it again."""
    script = tmp_path / "program.py"
    script.write_text(IN_WORKERS)
    subprocess.run([sys.executable, script, context], check=True, timeout=120)
