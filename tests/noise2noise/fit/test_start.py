"""How runs begin: with which model, for how long; and what their models know of the images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from chainrule.serialization import load_tensors, save_tensors
from noise2noise import Trainer, configure, train
from noise2noise.data import save_pair_file
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.evaluation import evaluate_all, recorded
from noise2noise.files import array_stack, scale_of, survey
from noise2noise.fit import Observer
from noise2noise.fit.sources import open_data
from noise2noise.fit.start import GENTLE, new
from noise2noise.fit.trainer import EPOCH_STEPS, LENGTH_FROM_MODEL, USUAL_LENGTH
from noise2noise.inference import Learned
from noise2noise.model_file import read_model
from noise2noise.model_info import ModelInfo
from noise2noise.noise import NoiseProfile

SIGMA = 10
TINY = {"sizes": {"width": 4, "depth": 0}, "batch_size": 4, "crop": 16}


def save_pairs(
    folder: Path, factor: float = 1, offset: float = 0, count: int = 2, shape: Any = (48, 32)
) -> tuple[Path, Path]:
    """Pairs of noisy stripes, as float TIFF."""
    rng = np.random.default_rng(0)
    for number in range(count):
        waves = np.sin(np.arange(shape[0]) / (3 + number)).reshape(-1, *[1] * (len(shape) - 1))
        clean = 100 + 50 * waves * np.ones(shape)
        for side in "ab":
            (folder / side).mkdir(parents=True, exist_ok=True)
            noisy = factor * (clean + rng.normal(0, SIGMA, shape)) + offset
            kind = "rgb" if len(shape) == 3 else "minisblack"
            place = folder / side / f"{number}.tif"
            tifffile.imwrite(place, noisy.astype(np.float32), photometric=kind)
    return folder / "a", folder / "b"


def trained(folder: Path, **options: Any) -> Path:
    Trainer(configure(**options), folder).fit()
    return folder


def nothing(items: Any, description: str, total: int) -> Any:
    return items


@pytest.mark.parametrize(("shape", "model"), [((40, 40), "grey"), ((40, 40, 3), "photo")])
def test_recorded_images_begin_with_the_shipped_model(tmp_path, shape, model):
    pairs = save_pairs(tmp_path, shape=shape)
    config = new(tmp_path / "run", {"pairs": pairs}, False)
    assert (config.start_from, config.architecture) == (model, "guided")
    assert config.learning_rate == GENTLE
    assert new(tmp_path / "run", {"burst": pairs[0]}, False).start_from == model
    assert new(tmp_path / "run", {"stack": pairs[0] / "0.tif"}, False).start_from == model


@pytest.mark.parametrize(
    "own", [{"architecture": "compact"}, {"sizes": {"width": 8}}, {"crop": 12}, {"epochs": 1}]
)
def test_who_says_what_network_it_is_to_be_gets_that(tmp_path, own):
    config = new(tmp_path / "run", {"pairs": save_pairs(tmp_path), **own}, False)
    assert (config.start_from is None) == ("epochs" not in own)
    assert config.learning_rate == (GENTLE if "epochs" in own else 1e-3)


def test_small_data_take_as_many_steps_as_large_ones(tmp_path):
    pairs = save_pairs(tmp_path)
    trainer = Trainer(configure(pairs=pairs, **TINY), tmp_path / "run")
    assert trainer.steps_per_epoch >= EPOCH_STEPS
    assert trainer.steps_per_epoch < 1.2 * EPOCH_STEPS
    steps = trainer.epochs * trainer.steps_per_epoch
    assert USUAL_LENGTH[1] <= steps < 1.1 * USUAL_LENGTH[1]
    begun = Trainer(configure(pairs=pairs, start_from="grey"), tmp_path / "run")
    steps = begun.epochs * begun.steps_per_epoch
    assert LENGTH_FROM_MODEL[1] <= steps < 1.1 * LENGTH_FROM_MODEL[1]
    asked = Trainer(configure(pairs=pairs, epochs=3, **TINY), tmp_path / "run")
    assert (asked.epochs, asked.steps_per_epoch, asked.passes) == (3, 2, 1)


def test_a_run_of_usual_length_resumes_with_its_passes(tmp_path):
    config = configure(pairs=save_pairs(tmp_path), **TINY)
    stopped = Trainer(config, tmp_path / "run")
    stopped.files.path.mkdir()
    stopped._save()
    longer = Trainer(config.model_copy(update={"epochs": 2}), tmp_path / "run")
    longer.resume()
    assert (longer.epochs, longer.passes) == (2, stopped.passes)


@pytest.mark.parametrize(("epochs", "begun"), [(1, 2), (2, 2)])
def test_fewer_epochs_than_are_done_are_refused(tmp_path, epochs, begun):
    pairs = save_pairs(tmp_path)
    run = trained(tmp_path / "run", pairs=pairs, epochs=2, **TINY)
    trainer = Trainer(configure(pairs=pairs, epochs=epochs, **TINY), run)
    if epochs == begun:
        trainer.resume()
        return
    with pytest.raises(UserError, match="is in epoch 2 already, and 1 are asked for"):
        trainer.resume()


def test_one_pair_is_enough(tmp_path):
    run = trained(tmp_path / "run", pairs=save_pairs(tmp_path, count=1), epochs=1, **TINY)
    assert (run / "best.safetensors").exists()


def test_a_pair_file_of_small_images_is_enough_by_default(tmp_path):
    sides = tuple(torch.randint(0, 255, (4, 3, 36, 36), dtype=torch.uint8) for _ in range(2))
    save_pair_file(tmp_path / "mp.pkl", sides)
    source, _ = open_data(configure(pairs_file=tmp_path / "mp.pkl"), nothing)
    assert source.crop == 36


def test_the_function_trains_as_the_command_does(tmp_path):
    pairs = save_pairs(tmp_path)
    said: list[str] = []

    class Watching(Observer):
        def on_message(self, text: str) -> None:
            said.append(text)

    options: dict[str, Any] = {**TINY, "architecture": "compact", "pairs": pairs, "epochs": 1}
    model = train(tmp_path / "run", observer=Watching(), **options)
    assert model.info.architecture == "compact"
    assert model.info.values is not None
    (beaten,) = said
    assert re.match(r"the shipped model grey reaches \d+\.\d\d dB on the same validation", beaten)
    assert "--start-from grey" in beaten
    with pytest.raises(UserError, match="holds a run already"):
        train(tmp_path / "run", **options)
    again = train(tmp_path / "run", resume=True, epochs=2)
    assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 3
    assert again.info.architecture == "compact"


# -- what a model knows of its images -------------------------------------------------------------


@pytest.fixture
def noisy() -> np.ndarray:
    stripes = 100 + 50 * np.sin(np.arange(40) / 3)[:, None]
    return (stripes + np.random.default_rng(7).normal(0, SIGMA, (40, 56))).astype(np.float32)


@pytest.mark.parametrize("architecture", ["guided", "compact"])
def test_the_result_doesnt_depend_on_the_unit_of_the_training_data(tmp_path, noisy, architecture):
    sizes = dict(TINY, sizes={"width": 4, "depth": 0}, architecture=architecture, epochs=3)
    results, scores = [], []
    for factor, offset in ((1, 0), (0.01, 3), (170, 5000)):
        folder = tmp_path / str(factor)
        run = trained(folder / "run", pairs=save_pairs(folder, factor, offset), **sizes)
        clean = Denoiser.load(run).denoise(factor * noisy + np.float32(offset))
        results.append((clean - offset) / factor)
        scores.append((run / "history.csv").read_text().splitlines()[-1].split(",")[5])
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=0.3)
    assert np.ptp([float(score) for score in scores]) < 0.02
    assert 5 < float(scores[0]) < 25


def test_a_model_keeps_the_noise_of_its_pairs_and_the_denoiser_tells_it(tmp_path, noisy):
    sizes = dict(TINY, architecture="guided", epochs=1)
    run = trained(tmp_path / "run", pairs=save_pairs(tmp_path, count=4), **sizes)
    _, info = read_model(run / "best.safetensors", "run")
    assert info.values is not None
    assert info.profile is not None
    assert np.sqrt(info.profile.variance(100, 0)) == pytest.approx(SIGMA, rel=0.1)
    denoiser = Denoiser.load(run)
    for image, knows in ((noisy, True), (noisy / 257, False), (100 * noisy, False)):
        run_of = denoiser.run(array_stack(image[..., None]))
        assert run_of.knows_noise == knows
    np.testing.assert_array_equal(
        denoiser.denoise(noisy), denoiser.denoise(noisy, noise=info.profile)
    )


def test_evaluate_measures_what_denoise_makes_of_a_file(tmp_path, noisy):
    sizes = dict(TINY, architecture="guided", epochs=1)
    run = trained(tmp_path / "run", pairs=save_pairs(tmp_path, count=4), **sizes)
    clean = (100 + 50 * np.sin(np.arange(40) / 3)[:, None] * np.ones((40, 56))).astype(np.float32)
    for name, values in (("noisy", noisy), ("clean", clean)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "x.tif", values)
    images = recorded(tmp_path / "clean", tmp_path / "noisy")
    _, score = evaluate_all(images, [str(run)], [], nothing)
    error = np.mean((Denoiser.load(run).denoise(noisy) - clean) ** 2)
    assert score.psnr == pytest.approx(10 * np.log10(clean.max() ** 2 / error), abs=0.01)


def test_integers_keep_all_of_their_range():
    info = ModelInfo("x", "compact", {}, "", "", 0, (100.0, 200.0), NoiseProfile.gaussian(1))
    learned = Learned.of(info)
    assert learned is not None
    stack = array_stack(np.zeros((4, 4, 1), np.uint16))
    scale = learned.scale(scale_of(stack.header, survey(stack)))
    values = scale.from_unit(np.array([-0.5, 0, 1, 1.5], np.float32), np.uint16)
    assert values.tolist() == [50, 100, 200, 250]
    assert learned.noise_for(3) == learned.noise


@pytest.mark.parametrize(
    "facts", [{"values": "[1, 1]"}, {"values": "7"}, {"values": "[0, null]"}, {"profile": "{}"}]
)
def test_what_a_stranger_says_of_its_images_is_checked(tmp_path, facts):
    run = trained(tmp_path / "run", pairs=save_pairs(tmp_path), epochs=1, **TINY)
    tensors, metadata = load_tensors(run / "best.safetensors")
    save_tensors(tmp_path / "x.safetensors", tensors, {**metadata, **facts})
    with pytest.raises(UserError, match="is not a model of this package"):
        Denoiser.load(tmp_path / "x.safetensors")
