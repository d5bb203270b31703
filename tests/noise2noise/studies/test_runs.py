"""Runs of the reports' recipes: what they compute, what they keep, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule import load
from chainrule.serialization import load_tensors
from noise2noise import Denoiser, networks
from noise2noise.errors import UserError
from noise2noise.metrics import mean_psnr
from noise2noise.studies.run import Result, result_of
from noise2noise.studies.runs import (
    Images,
    Spec,
    measure,
    new_network,
    predict,
    recipe,
    train,
    unit,
)

SMALL = recipe("zhao", "sgd", lr=0.5, momentum=0.9, batch=8, epochs=3, pairs=40, sizes={"width": 4})


def plain(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


def run(spec: Spec, images: Images, folder: Path) -> Result:
    return train(spec, images, folder, plain, lambda line: None)


def without_seconds(result: Result) -> Result:
    return replace(result, epochs=[replace(each, seconds=0) for each in result.epochs])


@pytest.mark.parametrize("spec", [SMALL, replace(SMALL, optimizer="adam", lr=1e-3, batch=7)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(spec, images, tmp_path):
    whole = run(spec, images, tmp_path / "whole")
    stopping = iter(range(2 * spec.steps - 1))  # the last step of epoch 2 is never done

    def stop(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        for item in items:
            if next(stopping, None) is None:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        train(spec, images, tmp_path / "parts", stop, lambda line: None)
    assert result_of(spec, tmp_path / "parts") is None
    lines: list[str] = []
    parts = train(spec, images, tmp_path / "parts", plain, lines.append)
    assert [line.split(",")[0].split(": ")[1] for line in lines] == ["epoch 2/3", "epoch 3/3"]
    assert without_seconds(parts) == without_seconds(whole)
    for name in ("last", "best"):
        first, second = (
            load_tensors(tmp_path / way / spec.key / f"{name}.safetensors")[0]
            for way in ("whole", "parts")
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_finished_run_is_not_done_again(images, tmp_path):
    first = run(SMALL, images, tmp_path)

    def forbidden(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        raise AssertionError("it trains")

    assert train(SMALL, images, tmp_path, forbidden, lambda line: None) == first
    assert result_of(SMALL, tmp_path) == first


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.4},
        {"momentum": 0.0},
        {"batch": 9},
        {"pairs": 39},
        {"seed": 1},
        {"weight_init": "kaiming"},
        {"sizes": (("channels", 3), ("depth", 2), ("leaky", 0), ("width", 5))},
    ],
)
def test_whatever_differs_makes_another_run(change):
    assert replace(SMALL, **change).key != SMALL.key


def test_it_learns_from_noisy_targets_and_beats_its_input(images, tmp_path):
    spec = recipe("mery-skip", "adam", lr=3e-3, batch=4, epochs=5, pairs=48, sizes={"width": 8})
    result = run(spec, images, tmp_path)
    assert result.last.loss < result.epochs[0].loss
    assert result.best.validation_psnr > mean_psnr(unit(images.noisy), unit(images.clean)) + 1
    assert result.parameters == sum(each.numel() for each in new_network(spec).parameters())


def test_an_epoch_takes_each_of_its_pairs_once_and_no_other(images, tmp_path):
    spec = replace(SMALL, lr=1e-30, momentum=0.0, batch=7, epochs=1)  # the weights stay
    result = run(spec, images, tmp_path)
    error, _ = measure(new_network(spec), images.first[:40], images.second[:40])
    assert result.last.loss == pytest.approx(error, rel=1e-5)


def test_the_order_of_the_pairs_is_another_in_each_epoch(images, tmp_path):
    spec = replace(SMALL, lr=1e-30, momentum=0.0, batch=1, epochs=2, pairs=40)
    losses: list[list[float]] = []

    class Noting:
        def __call__(self, items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
            losses.append([int(chosen) for chosen in items])
            return items

    train(spec, images, tmp_path, Noting(), lambda line: None)
    first, second = losses
    assert sorted(first) == sorted(second) == [*range(40)]
    assert first != second


def test_curves_are_of_the_weights_after_the_epoch(images, tmp_path):
    spec = replace(SMALL, snapshots=(1, 3))
    result = run(spec, images, tmp_path)
    for number in (1, 3):
        model = networks.build("zhao", **dict(spec.sizes))
        load(tmp_path / spec.key / f"epoch-{number}.safetensors", model)
        prediction = model.infer(images.noisy.float() / 255)
        expected = mean_psnr(prediction, images.clean.float() / 255)
        assert result.epochs[number - 1].validation_psnr == pytest.approx(expected, abs=1e-4)
    assert not (tmp_path / spec.key / "epoch-2.safetensors").exists()


def test_the_best_epoch_is_kept_and_denoises(images, tmp_path):
    spec = replace(SMALL, optimizer="adam", lr=0.05, epochs=5, seed=3)
    result = run(spec, images, tmp_path)
    assert result.best.epoch == 4  # it falls back then
    denoiser = Denoiser.load(str(tmp_path / spec.key / "best.safetensors"))
    assert denoiser.info.architecture == "zhao"
    psnr = mean_psnr(denoiser.model.infer(unit(images.noisy)), unit(images.clean))
    assert psnr == pytest.approx(result.best.validation_psnr, abs=1e-4)
    assert result.best.validation_psnr == max(result.curve("validation_psnr"))


def test_a_run_that_diverges_says_in_which_epoch_and_ends(images, tmp_path):
    spec = replace(SMALL, lr=3e38, seed=1)
    result = run(spec, images, tmp_path)
    assert result.diverged == 1
    assert result.epochs == []
    assert result_of(spec, tmp_path) == result


def test_the_seed_and_the_initialization_decide_how_a_run_begins():
    def first(spec: Spec) -> torch.Tensor:
        return new_network(spec).parameters()[0]

    assert torch.equal(first(SMALL), first(SMALL))
    assert not torch.equal(first(SMALL), first(replace(SMALL, seed=1)))
    wide = replace(SMALL, sizes=(("channels", 3), ("depth", 2), ("leaky", 0), ("width", 512)))
    for name, deviation in {
        "xavier": (2 / (27 + 9 * 512)) ** 0.5,
        "kaiming": (2 / 27) ** 0.5,
    }.items():
        assert float(first(replace(wide, weight_init=name)).std()) == pytest.approx(
            deviation, rel=0.05
        )


def test_predictions_are_the_network_s_own(images):
    model = new_network(SMALL)
    many = images.first.repeat(5, 1, 1, 1)  # more than are predicted at once
    assert torch.allclose(predict(model, many), model.infer(many.float() / 255), atol=1e-6)


@pytest.mark.parametrize("name", ["last.safetensors", "result.json"])
def test_a_damaged_file_is_named(images, tmp_path, name):
    run(SMALL, images, tmp_path)
    (tmp_path / SMALL.key / "result.json").unlink()
    (tmp_path / SMALL.key / name).write_text("{")
    with pytest.raises(UserError, match=rf"{name} is damaged; remove it"):
        run(SMALL, images, tmp_path)
