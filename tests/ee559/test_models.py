"""`Model` of both mini-projects, as the course's harness uses it, and as people get it wrong."""

import json
import math
import os
import pickle
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import chainrule
from chainrule import Conv2d, ConvTranspose2d, Module, NearestUpsampling, Sigmoid, Tape, save
from noise2noise import networks
from noise2noise.data import load_pair_file
from noise2noise.errors import UserError
from noise2noise.fit import DivergedError
from noise2noise.metrics import mean_psnr

# What the shipped models must reach on the validation images; the noisy input has 21.49 dB.
LEAST_PSNR = {"Miniproject_1": 26.28, "Miniproject_2": 25.5}


def smooth(count: int, height: int = 32, width: int = 32) -> Tensor:
    """Pictures of soft waves, (count, 3, height, width), 0 to 255."""
    y, x = torch.meshgrid(torch.arange(height) / 9, torch.arange(width) / 9, indexing="ij")
    slopes = torch.rand(2, count, 3, 1, 1) * 2 - 1
    return 127.5 + 80 * torch.sin(slopes[0] * x + slopes[1] * y)


def noisy(clean: Tensor, sigma: float = 60) -> Tensor:
    return (clean + sigma * torch.randn(clean.shape)).clamp(0, 255)


def model_of(project: ModuleType, best: Path):
    """The project's model with its best one at another place."""
    return type("Elsewhere", (project.Model,), {"best": best})


@pytest.fixture
def small(project: ModuleType, tmp_path: Path):
    """The project's model with a network that learns quickly, not yet trained."""
    architecture, sizes = project.Model.fallback, {"width": 12}
    weights = networks.build(architecture, **sizes).state_dict()
    path = tmp_path / "small.pth"
    torch.save({"architecture": architecture, "sizes": sizes, "weights": weights}, path)
    return model_of(project, path)


def weights(model) -> list[Tensor]:
    return [value.clone() for value in model.network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


# -- the harness -----------------------------------------------------------------------------------


def test_the_shipped_model_denoises_the_validation_images(project, shared):
    images, clean = load_pair_file(shared / "data" / "ee559" / "val_data.pkl")
    model = project.Model()
    model.load_pretrained_model()
    batches = [model.predict(batch.float()) for batch in images.split(100)]
    prediction = torch.cat(batches) / 255
    least = LEAST_PSNR[project.__name__.split(".")[1]]
    assert mean_psnr(prediction, clean.float() / 255) > least


@pytest.mark.parametrize("size", [(16, 16), (12, 21)])
@pytest.mark.parametrize("turn", [lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.mT])
def test_the_first_project_averages_over_flips_and_turns(first, size, turn):
    model = first.Model()
    model.load_pretrained_model()
    images = noisy(smooth(2, *size))
    prediction = model.predict(images)
    assert torch.allclose(model.predict(turn(images)), turn(prediction), atol=1e-3)
    model.averaged = False
    assert (model.predict(turn(images)) - turn(model.predict(images))).abs().max() > 0.1


def test_training_learns_to_denoise(small):
    clean, unseen = smooth(64, 16, 16), smooth(8, 16, 16)
    spoilt = noisy(unseen)
    model = small()
    model.learning_rate = 1e-2
    model.train(noisy(clean), noisy(clean), num_epochs=25)
    after = mean_psnr(model.predict(spoilt), unseen, peak=255)
    assert after > mean_psnr(spoilt, unseen, peak=255) + 4


def test_training_lowers_the_loss(small):
    clean = smooth(32)
    first, second = noisy(clean), noisy(clean)

    def loss() -> float:
        return float((model.predict(first) - second).square().mean())

    model = small()
    before = loss()
    model.train(first, second, 2)
    assert loss() < before


@pytest.mark.parametrize("size", [(512, 512), (1, 1), (1, 9), (5, 7), (32, 32), (33, 50)])
def test_a_prediction_has_the_shape_of_the_images_and_values_from_0_to_255(project, size):
    model = project.Model()
    model.load_pretrained_model()
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    kept = images.clone()
    prediction = model.predict(images)
    assert prediction.shape == images.shape
    assert prediction.dtype == torch.float32
    assert float(prediction.min()) >= 0
    assert float(prediction.max()) <= 255
    assert torch.equal(images, kept)


def test_a_prediction_is_near_the_images_up_to_their_borders(project):
    clean = smooth(1, 61, 43)
    model = project.Model()
    model.load_pretrained_model()
    error = (model.predict(clean) - clean).square().mean(1)[0]
    border = torch.cat((error[0], error[-1], error[:, 0], error[:, -1]))
    assert float(border.mean().sqrt()) < 20


def test_dtype_and_layout_of_the_images_do_not_matter(small):
    model = small()
    images = torch.randint(0, 256, (2, 3, 12, 20), dtype=torch.uint8)
    expected = model.predict(images)
    for same_images in (
        images.float(),
        images.double(),
        images.half(),
        images.contiguous(memory_format=torch.channels_last),
        images.float().transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert torch.equal(model.predict(same_images), expected)


def test_images_do_not_depend_on_their_batch(small):
    model = small()
    images = noisy(smooth(3))
    expected = model.predict(images)
    assert torch.equal(model.predict(images[1:2]), expected[1:2])
    assert model.predict(images[:0]).shape == (0, 3, 32, 32)


def test_training_takes_bytes_and_floats_alike(small):
    pairs = torch.randint(0, 256, (2, 20, 3, 32, 32), dtype=torch.uint8)
    results = []
    for first, second in (pairs, pairs.float(), pairs.double()):
        torch.manual_seed(1)
        model = small()
        model.train(first, second, 1)
        results.append(weights(model))
    assert all(
        torch.allclose(ours, theirs, atol=1e-6)
        for result in results[1:]
        for ours, theirs in zip(result, results[0], strict=True)
    )


def test_training_takes_rectangles_of_any_size(small):
    images = noisy(smooth(3, 35, 50))
    kept = images.clone()
    model = small()
    before = weights(model)
    model.train(images, images, 1)
    assert not same(weights(model), before)
    assert torch.equal(images, kept)


def test_no_epochs_change_nothing_and_the_next_ones_go_on(small):
    clean = smooth(16)
    first, second = noisy(clean), noisy(clean)
    model = small()
    before = weights(model)
    model.train(first, second, 0)
    assert same(weights(model), before)
    model.train(first, second, 1)
    once = weights(model)
    model.train(first, second, 1)
    assert not same(weights(model), once)


def test_the_input_is_what_the_target_is_predicted_from(small):
    """The two never change places: else 60 would have been answered by any brightness as well."""
    any_brightness = (255 * torch.rand(64, 1, 1, 1)).expand(64, 3, 16, 16)
    dark = torch.full((64, 3, 16, 16), 60.0)
    model = small()
    model.learning_rate = 1e-2
    model.train(any_brightness, dark, 20)
    assert abs(float(model.predict(dark[:1]).mean()) - 60) < 20


def test_loading_undoes_training(small):
    images = noisy(smooth(16))
    model = small()
    model.load_pretrained_model()
    expected = model.predict(images)
    model.train(images, images.flip(0), 1)
    assert not torch.equal(model.predict(images), expected)
    model.load_pretrained_model()
    assert torch.equal(model.predict(images), expected)

    fresh = small()
    fresh.load_pretrained_model()
    for one in (model, fresh):  # the optimizer has forgotten what came before, too
        one.train(images, images.flip(0), 1)
    assert same(weights(model), weights(fresh))


@pytest.mark.parametrize("autograd", [True, False])
def test_autograd_is_never_used(small, autograd):
    torch.set_grad_enabled(autograd)
    images = noisy(smooth(8))
    images.requires_grad = True
    model = small()
    model.train(images, images, 1)
    prediction = model.predict(images)
    assert images.grad is None
    assert prediction.grad_fn is None
    values = [prediction, *model.network.parameters()]
    values += [value.grad for value in model.network.parameters()]
    assert not any(value.requires_grad for value in values)
    assert torch.is_grad_enabled() == autograd


def test_diverged_training_says_so(small):
    images = noisy(smooth(64))
    model = small()
    model.learning_rate = 1e30
    with pytest.raises(DivergedError, match=r"diverged.*new Model\(\)"):
        model.train(images, images, 20)


# -- what people get wrong -------------------------------------------------------------------------

GOOD = torch.zeros(2, 3, 16, 16)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([[1.0]], "expected a tensor .* got list"),
        (torch.zeros(3, 16, 16), r"expected shape \(N, 3, H, W\), got \(3, 16, 16\); .*x\[None\]"),
        (torch.zeros(2, 1, 16, 16), r"expected shape \(N, 3, H, W\), got \(2, 1, 16, 16\)"),
        (torch.zeros(2, 3, 0, 16), r"no pixels.*\(2, 3, 0, 16\)"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.int64), r"uint8 or floats.*torch.int64.*\.float\("),
        (torch.zeros(2, 3, 16, 16, dtype=torch.bool), "torch.bool"),
        (torch.full((2, 3, 16, 16), math.nan), "1536 of 1536 values are NaN or infinite"),
        (torch.full((2, 3, 16, 16), math.inf), "NaN or infinite"),
        (torch.full((2, 3, 16, 16), 255.5), "from 0 to 255, got 255.5 to 255.5; scale"),
        (torch.full((2, 3, 16, 16), -1.0), "from 0 to 255, got -1 to -1"),
    ],
)
def test_other_images_are_refused_in_one_sentence(project, images, words):
    model = project.Model()
    calls = {
        "test_input": lambda: model.predict(images),
        "train_input": lambda: model.train(images, GOOD, 1),
        "train_target": lambda: model.train(GOOD, images, 1),
    }
    for name, call in calls.items():
        with pytest.raises(UserError, match=f"^{name}: .*{words}"):
            call()


@pytest.mark.parametrize(
    ("first", "second", "epochs", "words"),
    [
        (GOOD, GOOD[:1], 1, r"\(2, 3, 16, 16\) and train_target \(1, 3, 16, 16\)"),
        (GOOD, GOOD, -1, "num_epochs must be a whole number of at least 0, got -1"),
        (GOOD, GOOD, 1.5, "got 1.5"),
        (GOOD, GOOD, True, "got True"),
        (GOOD, GOOD, None, "got None"),
        (GOOD[..., :7], GOOD[..., :7], 1, "images are 16 x 7; .* at least 8 x 8"),
        (GOOD[:0], GOOD[:0], 1, "no images"),
        (GOOD, GOOD, 1, "expected values from 0 to 255, got 0 to 0; scale"),
    ],
)
def test_other_training_is_refused_in_one_sentence(project, first, second, epochs, words):
    with pytest.raises(UserError, match=words):
        project.Model().train(first, second, epochs)


# -- bestmodel.pth ---------------------------------------------------------------------------------


def trained_file(path: Path, name: str, **sizes: int) -> Path:
    """A model file as `noise2noise train` writes it."""
    network = networks.build(name, **sizes)
    save(path, network, {"architecture": name, "sizes": json.dumps(sizes)})
    return path


def test_the_shipped_file_is_small_and_holds_plain_values(project):
    best = project.Model.best
    assert best.parent == Path(project.__file__).parent
    assert best.name == "bestmodel.pth"
    assert best.stat().st_size < 3 * 2**20
    content = torch.load(best, weights_only=True)
    assert content["architecture"] in networks.ARCHITECTURES
    assert all(type(value) is Tensor for value in content["weights"].values())


def test_the_second_project_keeps_the_prescribed_shape(second):
    layers = list(second.Model().network)
    down = [layer for layer in layers if isinstance(layer, Conv2d) and layer.stride == (2, 2)]
    up = [
        layer
        for layer in layers
        if (isinstance(layer, NearestUpsampling) and layer.scale_factor == (2, 2))
        or (isinstance(layer, ConvTranspose2d) and layer.stride == (2, 2))
    ]
    weighted = [layer for layer in layers if isinstance(layer, Conv2d | ConvTranspose2d)]
    assert (len(down), len(up), len(weighted)) == (2, 2, 4)
    assert layers.index(down[1]) < layers.index(up[0])
    assert isinstance(layers[-1], Sigmoid)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("zhao", {"channels": 3, "width": 7}),
        ("mery-skip", {"channels": 3, "width": 5}),
        ("mery", {"channels": 1, "width": 6}),
    ],
)
def test_another_network_comes_in_without_touching_code(project, export, tmp_path, name, sizes):
    source = trained_file(tmp_path / "any.safetensors", name, **sizes)
    best = export.export(source, tmp_path / "bestmodel.pth")
    model = model_of(project, best)()
    model.load_pretrained_model()
    network = networks.build(name, **sizes)
    chainrule.load(source, network)
    images = 255 * torch.rand(2, sizes["channels"], 16, 20)
    model.averaged = False
    expected = network.infer(images / 255) * 255
    assert torch.allclose(model.predict(images), expected, atol=1e-3)
    model.train(images, images, 1)


def test_export_keeps_what_is_there_unless_told_otherwise(export, tmp_path):
    source = trained_file(tmp_path / "any.safetensors", "zhao", width=4)
    best = tmp_path / "bestmodel.pth"
    best.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        export.export(source, best)
    assert best.read_bytes() == b"precious"
    export.export(source, best, overwrite=True)
    assert torch.load(best, weights_only=True)["sizes"]["width"] == 4


def test_the_command_writes_a_projects_file_and_refuses_in_one_line(
    export, tmp_path, monkeypatch, capsys
):
    (tmp_path / "Miniproject_2").mkdir()
    monkeypatch.setattr(export, "HERE", tmp_path)
    source = trained_file(tmp_path / "any.safetensors", "zhao", width=4)
    monkeypatch.setattr("sys.argv", ["export", str(source), "Miniproject_2"])
    export.main()
    export.main()  # replaces the file: that is what it is for
    assert str(tmp_path / "Miniproject_2" / "bestmodel.pth") in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["export", str(tmp_path / "none"), "Miniproject_2"])
    with pytest.raises(SystemExit) as stop:
        export.main()
    assert stop.value.code == 2
    assert "there is no model" in capsys.readouterr().err


def test_without_the_file_a_model_can_be_trained_but_not_loaded(project, tmp_path):
    model = model_of(project, tmp_path / "bestmodel.pth")()
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    model.train(images, images, 1)
    assert model.predict(images).shape == images.shape
    with pytest.raises(UserError, match=r"there is no file .*bestmodel.pth; make it with"):
        model.load_pretrained_model()


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("went-off",)


@pytest.mark.parametrize("content", ["cut short", "hostile", "of something else"])
def test_a_bad_file_is_refused_and_never_run(project, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bestmodel.pth"
    if content == "cut short":
        path.write_bytes(project.Model.best.read_bytes()[:5000])
    elif content == "hostile":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"bestmodel.pth .*is damaged.*; make it again"):
        model_of(project, path)()
    assert not Path("went-off").exists()


def test_weights_of_another_network_are_refused(project, tmp_path):
    content = torch.load(project.Model.best, weights_only=True)
    content["weights"].popitem()
    path = tmp_path / "bestmodel.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"is damaged or not a model .*is missing"):
        model_of(project, path)()


def test_a_file_that_asks_for_a_huge_network_is_refused(project, tmp_path):
    content = torch.load(project.Model.best, weights_only=True)
    path = tmp_path / "bestmodel.pth"
    for sizes in ({"width": 2**62}, {"depth": 14}, {"depth": 10**9}, {"width": -1}):
        torch.save({**content, "sizes": sizes}, path)
        with pytest.raises(UserError, match=r"bestmodel.pth is damaged or not a model"):
            model_of(project, path)()


def test_weights_that_are_no_numbers_are_refused(project, tmp_path):
    content = torch.load(project.Model.best, weights_only=True)
    next(iter(content["weights"].values())).view(-1)[0] = float("nan")
    path = tmp_path / "bestmodel.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"damaged .*holds NaN"):
        model_of(project, path)().load_pretrained_model()


# -- the rule of the second project ----------------------------------------------------------------


class Spy(Module):
    """Changes nothing, and notes which backend runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        self.seen.append(chainrule.backend())
        return x

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        self.seen.append(chainrule.backend())
        return gy


def test_the_second_project_runs_on_the_reference_ops_and_leaves_the_backend_as_it_was(second):
    before = chainrule.backend()
    images = noisy(smooth(2))
    model = second.Model()
    spy = Spy()
    model.network = chainrule.Sequential(*model.network, spy)
    model.train(images, images, 1)
    model.predict(images)
    assert len(spy.seen) == 4  # forward, backward, and each of two images
    assert set(spy.seen) == {"reference"}
    spy = Spy()
    layers = second.Sequential(second.Conv2d(3, 3, 1), spy)
    layers.backward(layers.forward(images))
    layers.infer(images)
    assert spy.seen == ["reference"] * 3
    assert chainrule.backend() == before


def test_images_whose_white_is_1_are_warned_of(small):
    model, images = small(), torch.rand(2, 3, 16, 16)
    with pytest.warns(UserWarning, match=r"values up to 0.* nearly black .* multiply them by 255"):
        model.predict(images)
    with pytest.raises(UserError, match="expected values from 0 to 255, got 0"):
        model.train(images, images, 1)
    model.predict(torch.zeros(1, 3, 16, 16))


def test_the_mean_over_flips_and_turns_has_a_switch(project):
    models = [project.Model(averaged=averaged) for averaged in (True, False)]
    images = noisy(smooth(1))
    for model in models:
        model.load_pretrained_model()
    first, second = (model(images) for model in models)
    assert not torch.allclose(first, second, atol=0.1)
    standard = project.Model()
    standard.load_pretrained_model()
    expected = first if project.Model.averaged else second
    assert torch.allclose(standard.predict(images), expected, atol=0.01)


def test_a_terminal_sees_how_far_it_is(small, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    images = noisy(smooth(4, 16, 16))
    model = small()
    model.train(images, images, 2)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "loss 0." in shown
    model.predict(images)
    assert "predict" in capsys.readouterr().err
    monkeypatch.delenv("FORCE_COLOR")
    model.predict(images)
    assert capsys.readouterr().err == ""
