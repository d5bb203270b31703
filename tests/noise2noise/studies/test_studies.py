"""The studies: the reports' recipes, what scales them down, and the measurements beside PyTorch."""

from __future__ import annotations

import pytest

from noise2noise.studies import against_torch, mery, zhao
from noise2noise.studies.report import STUDIES
from noise2noise.studies.runs import Spec, recipe
from noise2noise.studies.study import Scale

# What the reports say of their main runs: optimizer, learning rate, momentum, batch, epochs, and
# the parameters that their networks have.
REPORTED = {
    "zhao": ("sgd", 0.01, 0.9, 16, 50, 44_211),
    "coldenhoff": ("sgd", 0.5, 0.9, 16, 10, 17_987),
    "mery": ("sgd", 0.1, 0.0, 8, 50, 134_203),
    "mery-skip": ("adam", 1e-3, 0.0, 8, 10, 188_403),
    "david": ("sgd", 5.0, 0.0, 16, 50, 44_211),
    "hilsberg": ("sgd", 2.0, 0.0, 50, 20, 104_259),
    "hilsberg-published": ("sgd", 2.0, 0.0, 50, 20, 282_243),
}


@pytest.mark.parametrize("name", REPORTED)
def test_main_runs_follow_the_recipes_of_their_reports(name):
    from noise2noise.networks import build

    (spec,) = STUDIES[name].runs(Scale()).values()
    assert isinstance(spec, Spec)
    parameters = sum(each.numel() for each in build(name, **dict(spec.sizes)).parameters())
    recipe_ = (spec.optimizer, spec.lr, spec.momentum, spec.batch, spec.epochs, parameters)
    assert recipe_ == REPORTED[name]
    assert (spec.pairs, spec.weight_init) == (50_000, "normal")


def test_main_runs_come_first_and_are_the_seven():
    names = [name for name, study in STUDIES.items() if study.system is not None]
    assert sorted(names) == sorted(REPORTED)
    assert names == [*STUDIES][:7]


def test_what_two_studies_need_is_one_run():
    def keys(name: str, scale: Scale) -> set[str]:
        return {spec.key for spec in STUDIES[name].runs(scale).values()}

    for part in ("zhao-activations", "zhao-initialisations"):
        assert keys("zhao", Scale()) < keys(part, Scale())
        assert not keys("zhao", Scale(fraction=0.5)) & keys(part, Scale(fraction=0.5))
    assert keys("coldenhoff", Scale()) < keys("coldenhoff-optimizers", Scale())
    assert keys("david", Scale(fraction=0.1)) == keys("david-pictures", Scale(fraction=0.1))


def test_a_fraction_limits_the_studies_and_not_the_main_runs():
    half = Scale(fraction=0.5)
    assert half.whole(zhao.SPEC).pairs == 50_000
    assert half.part(zhao.SPEC).pairs == 25_000
    tenth = recipe("zhao", "sgd", lr=1, batch=1, epochs=1, pairs=5_000)
    assert half.part(tenth).pairs == 5_000  # as few as the report took
    assert Scale(fraction=0.02).part(tenth).pairs == 1_000
    assert half.part(zhao.SPEC).epochs == zhao.SPEC.epochs


def test_seeds_and_repetitions_differ():
    seeds = {Scale(seed=3).part(zhao.SPEC, repetition).seed for repetition in range(5)}
    assert seeds == {3, 4, 5, 6, 7}
    batches = STUDIES["mery-batches"].runs(Scale())
    assert len(batches) == len({spec.key for spec in batches.values()}) == 11 * 5
    assert all(50_000 % batch == 0 for batch, _ in batches)


def test_mery_s_five_networks_have_about_as_many_parameters():
    from noise2noise.networks import build

    counts = [
        sum(each.numel() for each in build(spec.architecture, **dict(spec.sizes)).parameters())
        for spec in STUDIES["mery-depths"].runs(Scale()).values()
    ]
    assert counts == [20_259, 20_533, 20_729, 20_131, 20_253]
    assert [*mery.DEPTHS] == [4, 6, 8, 10, 12]


def test_a_network_and_its_twin_agree_within_the_report_s_tolerance(images):
    spec = recipe("zhao", "sgd", lr=1, batch=4, epochs=1, sizes={"width": 8})
    found = against_torch.differences(spec, images)
    assert set(found) == {
        "prediction",
        *(f"{n}.{part}" for n in (0, 2, 4, 6) for part in ("weight", "bias")),
    }
    assert all(each["within"] == 1 and each["scale"] > 0 for each in found.values())


def test_a_difference_from_the_twin_is_seen(images, monkeypatch):
    from chainrule import ReLU

    run = ReLU.run
    monkeypatch.setattr(ReLU, "run", lambda self, x, tape: run(self, 2 * x, tape))
    monkeypatch.setattr(against_torch, "fuse", lambda model: model)
    spec = recipe("zhao", "sgd", lr=1, batch=4, epochs=1, sizes={"width": 8})
    found = against_torch.differences(spec, images)
    assert found["prediction"]["within"] < 0.9
    assert found["prediction"]["largest"] > 1e-4


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_times_are_of_an_epoch(images, optimizer):
    spec = recipe("zhao", optimizer, lr=1e-3, batch=8, epochs=1, pairs=48, sizes={"width": 4})
    few = against_torch.epoch_seconds(spec, images, rounds=1)
    assert set(few) == {"ours", "eager", "channels_last"}
    assert all(0 < each["median"] < 60 for each in few.values())
