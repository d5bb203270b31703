"""The Noise2Noise paper's study: what its runs draw and learn, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule import L0, L1, MSE, gradcheck
from chainrule.serialization import load_tensors
from noise2noise import Denoiser, networks
from noise2noise.dead_leaves import dead_leaves
from noise2noise.errors import UserError
from noise2noise.files import Image, read_image, write_image
from noise2noise.studies import paper_data, paper_runs
from noise2noise.studies.paper_data import PaperImages
from noise2noise.studies.paper_plan import CLEAN, MEAN, NOISES, NOISY, SPEC, longer_runs, runs
from noise2noise.studies.paper_runs import Draws, PaperSpec, Surviving, noisy_tests, train
from noise2noise.studies.run import Result, result_of
from noise2noise.studies.study import Scale

SIZES = tuple(sorted(networks.sizes_of("compact", {"width": 4, "depth": 0}).items()))
SMALL = replace(SPEC, sizes=SIZES, batch=2, steps=3, epochs=3, crop=16)

BERNOULLI = replace(SMALL, noise="bernoulli:0.5")


def plain(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


@pytest.fixture(autouse=True)
def few_pages(monkeypatch):
    """Drawing text takes its time."""
    monkeypatch.setattr(paper_runs, "_PAGES", 4)
    monkeypatch.setattr(paper_runs, "_PAGE", 128)


@pytest.fixture(scope="module")
def images() -> PaperImages:
    """Four squares, and two test images of sizes that the network doesn't take as they are."""
    leaves = [
        torch.from_numpy(np.rint(255 * dead_leaves(128, np.random.default_rng(k))).astype(np.uint8))
        for k in range(6)
    ]
    tests = [leaves[4][:, :41, :30], leaves[5][:, :24, :35]]
    return PaperImages(torch.stack(leaves[:4]), {"two": tests})


def run(spec: PaperSpec, images: PaperImages, folder: Path) -> Result:
    return train(spec, images, folder, plain, lambda line: None)


def without_seconds(result: Result) -> Result:
    return replace(result, epochs=[replace(each, seconds=0) for each in result.epochs])


@pytest.mark.parametrize(
    "spec",
    [
        replace(SMALL, noise="impulse:0.5", loss="l0"),
        replace(SMALL, noise="poisson:30", shots=4),
        replace(BERNOULLI, shots=2),
    ],
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(spec, images, tmp_path):
    whole = run(spec, images, tmp_path / "whole")
    stopping = iter(range(2 * spec.steps - 1))

    def stop(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        for item in items:
            if next(stopping, None) is None:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        train(spec, images, tmp_path / "parts", stop, lambda line: None)
    assert result_of(spec, tmp_path / "parts") is None
    parts = run(spec, images, tmp_path / "parts")
    assert without_seconds(parts) == without_seconds(whole)
    first, second = (
        load_tensors(tmp_path / way / spec.key / "last.safetensors")[0]
        for way in ("whole", "parts")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.spec)
def test_runs_differ_in_their_targets_alone(noise, images, tmp_path):
    base = replace(SMALL, noise=noise.spec, loss=noise.loss)
    specs = [base, replace(base, target="clean"), replace(base, shots=4)]
    made = [paper_runs._Run(spec, images, tmp_path / spec.key, lambda line: None) for spec in specs]
    (noisy, first), (same, clean), (also, mean) = (each.batch(1) for each in made)
    assert torch.equal(noisy, same)
    assert torch.equal(noisy, also)
    assert noisy.dtype == first.dtype == mean.dtype == torch.float32
    assert not torch.equal(noisy, first[:, :3])  # the target's noise is its own
    assert not torch.equal(first, mean)
    assert 0 <= float(clean.min()) <= float(clean.max()) <= 1
    weights = [each.model.state_dict() for each in made]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(noisy, made[0].batch(2)[0])


@pytest.mark.parametrize("noise", ["gaussian:25", "poisson:30", "impulse:0.5"])
def test_the_target_of_several_shots_is_their_mean(noise):
    clean, spread = np.full((8, 3, 32, 32), 0.5, np.float32), []
    for shots in (1, 4):
        draws = Draws(replace(SMALL, noise=noise, shots=shots))
        targets = draws.targets(clean, np.random.default_rng(0))
        assert float(targets.mean()) == pytest.approx(0.5, abs=0.01)
        spread.append(float(targets.std()))
    assert spread[0] / spread[1] == pytest.approx(2, rel=0.05)


def test_text_covers_crops_as_it_covers_test_images():
    draws = Draws(replace(SMALL, noise="text:0.25", loss="l1"))
    clean = np.full((400, 3, 32, 32), 0.5, np.float32)
    covered = (draws.noisy(clean, np.random.default_rng(0)) != 0.5).any(1)
    assert float(covered.mean()) == pytest.approx(0.25, abs=0.06)
    assert 0 < float(covered.mean((1, 2)).std()) < 0.25


def test_lost_pixels_of_a_target_are_left_out_of_the_loss():
    draws = Draws(replace(BERNOULLI, shots=2))
    clean = np.random.default_rng(0).uniform(0.1, 1, (4, 3, 16, 16)).astype(np.float32)
    target = draws.targets(clean, np.random.default_rng(1))
    values, weight = target[:, :3], target[:, 3:]
    assert sorted(set(weight.ravel().tolist())) == [0, 0.5, 1]
    assert np.array_equal(values, clean * (weight > 0))
    assert float(weight.mean()) == pytest.approx(0.5, abs=0.05)
    prediction, target = torch.from_numpy(clean), torch.from_numpy(target)
    loss = Surviving()
    assert float(loss(prediction, target)) == 0
    assert not loss.backward().any()
    assert float(loss(prediction + 1, target)) == pytest.approx(float(weight.mean()), rel=1e-5)


def test_the_loss_of_a_mean_of_shots_is_the_mean_of_their_losses():
    torch.manual_seed(0)
    prediction, clean = torch.rand(2, 3, 4, 4).double(), torch.rand(2, 3, 4, 4).double()
    masks = [torch.randint(0, 2, (2, 1, 4, 4)).double() for _ in range(3)]
    each = [(mask * (prediction - clean)).square().mean() for mask in masks]
    mean = torch.stack(masks).mean(0)
    loss = Surviving()
    value = loss(prediction, torch.cat([clean * (mean > 0), mean], 1))
    assert float(value) == pytest.approx(float(torch.stack(each).mean()))
    gradcheck(Surviving(), prediction, torch.cat([clean, mean], 1))


def test_each_run_has_its_loss_and_the_power_falls_from_2_to_0(images, tmp_path):
    assert type(paper_runs._loss(SMALL)) is MSE
    assert type(paper_runs._loss(replace(SMALL, loss="l1"))) is L1
    assert type(paper_runs._loss(BERNOULLI)) is Surviving
    assert type(paper_runs._loss(replace(BERNOULLI, target="clean"))) is MSE
    spec = replace(SMALL, noise="impulse:0.5", loss="l0", steps=5, epochs=2)
    made = paper_runs._Run(spec, images, tmp_path, lambda line: None)
    loss, powers, rates = made.loss, [], []
    assert isinstance(loss, L0)
    for epoch in (1, 2):
        for step in made.chunks(epoch):
            made.batch(step)
            powers.append(loss.gamma)
            rates.append(made.optimizer.lr)
    assert powers == pytest.approx(np.linspace(2, 0, 11)[:10])
    assert rates[0] == spec.lr
    assert rates == sorted(rates, reverse=True)


def test_it_learns_from_noisy_targets(images, tmp_path):
    spec = replace(SMALL, steps=40, batch=4, lr=4e-3)
    result = run(spec, images, tmp_path)
    score = result.scores["two"]
    assert result.last.validation_psnr > result.epochs[0].validation_psnr
    assert score["output"] > score["input"] + 0.5
    assert score["input"] == pytest.approx(20.2, abs=0.2)  # 20 log10(255 / 25)
    denoiser = Denoiser.load(str(tmp_path / spec.key / "best.safetensors"))
    assert (denoiser.info.architecture, denoiser.info.noise) == ("compact", "gaussian:25")


def test_surviving_pixels_are_put_back(images, tmp_path):
    score = run(BERNOULLI, images, tmp_path).scores["two"]
    assert score["restored"] > score["output"]
    for clean, given in noisy_tests(BERNOULLI.noise, images, "two"):
        lost = (given == 0).all(0)
        assert 0.4 < float(lost.mean()) < 0.6
        assert np.array_equal(given[:, ~lost], clean[:, ~lost])


def test_the_plan_is_18_runs_of_one_network():
    specs = runs(Scale())
    assert len({spec.key for spec in specs.values()}) == len(specs) == 18
    assert len({(spec.sizes, spec.steps, spec.batch, spec.seed) for spec in specs.values()}) == 1
    for noise in NOISES:
        kinds = [specs[noise.spec, kind, noise.loss] for kind in (CLEAN, NOISY, MEAN)]
        assert [(each.target, each.shots) for each in kinds] == [
            ("clean", 1),
            ("noisy", 1),
            ("noisy", 4),
        ]
    part = runs(Scale(fraction=0.1, seed=3))["gaussian:25", NOISY, "mse"]
    assert (part.steps, part.seed) == (SPEC.steps // 10, 3)
    assert {each.steps for each in longer_runs(Scale()).values()} == {4 * SPEC.steps}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of two photographs, and one of two test images."""
    rng = np.random.default_rng(0)
    for folder, sizes in (("photos", ((128, 130), (140, 128))), ("set14", ((50, 60), (61, 49)))):
        (tmp_path / folder).mkdir()
        for number, (height, width) in enumerate(sizes):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            write_image(tmp_path / folder / f"{number}.png", Image(pixels))
    return tmp_path / "photos", tmp_path / "set14"


def test_data_are_put_into_the_folder_once(folders, tmp_path):
    photos, tests = folders
    out = tmp_path / "out"
    paper_data.prepare(out, photos, [tests], 0, True, plain)
    made = paper_data.load(out)
    assert made.squares.shape == (paper_data.QUICK_SQUARES, 3, 128, 128)
    whole = read_image(photos / "0.png").pixels.transpose(2, 0, 1)
    windows = [whole[:, :, left : left + 128] for left in range(3)]
    assert any(np.array_equal(made.squares[0].numpy(), window) for window in windows)
    pixels = read_image(tests / "0.png").pixels.transpose(2, 0, 1)
    assert np.array_equal(made.tests["set14"][0].numpy(), pixels[:, :48, :48])
    paper_data.prepare(out, None, [], 0, True, plain)  # nothing is needed to go on
    with pytest.raises(UserError, match=r"other data \(seed: 0 then, 1 now\)"):
        paper_data.prepare(out, photos, [tests], 1, True, plain)
    with pytest.raises(UserError, match=r"other data \(squares: 8 then, 3000 now\)"):
        paper_data.prepare(out, None, [], 0, False, plain)
    (out / "tests.safetensors").write_bytes(b"{")
    with pytest.raises(UserError, match=r"tests\.safetensors is damaged or gone"):
        paper_data.load(out)


def test_what_data_are_missing_or_unfit_is_said(folders, tmp_path):
    photos, tests = folders
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"to begin one, give --photos .* and --tests"):
        paper_data.prepare(out, photos, [], 0, True, plain)
    with pytest.raises(UserError, match="two of the folders of test images have one name"):
        paper_data.prepare(out, photos, [tests, tests], 0, True, plain)
    with pytest.raises(UserError, match=r"no photograph in .* has at least 128 x 128 pixels"):
        paper_data.prepare(out, tests, [tests], 0, True, plain)
    with pytest.raises(UserError, match="of the paper's runs; run the study first"):
        paper_data.load(out)
    assert not out.exists()
