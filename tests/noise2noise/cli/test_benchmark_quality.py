"""`noise2noise benchmark quality`: plans, tables, and what can't be measured."""

import json
from pathlib import Path

import pytest

from noise2noise.benchmark.quality import QualitySet, markdown, measure, read_plan, rows
from noise2noise.errors import UserError

PLAN = """
[[set]]
name = "Two"
clean = "clean"
corruptions = ["gaussian:25", "poisson:30"]
models = ["fast"]
against = ["total-variation"]
told = true
published = [
    { corruption = "gaussian:25", method = "Theirs", psnr = 31.5, source = "somewhere" },
]
"""


def silently(items, description, total):
    return items


@pytest.fixture(autouse=True)
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_of, make_model) -> Path:
    """A folder with two clean pictures, and a small model named fast."""
    folder_of("clean", {"a.png": (40, 30, 3), "b.png": (24, 36, 3)})
    make_model("fast", width=4).rename(tmp_path / "fast.safetensors")
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(PLAN.replace('"fast"', '"fast.safetensors"'))
    return tmp_path


def test_a_plan_is_measured_set_by_set_and_noise_by_noise(bench):
    found = measure(read_plan(Path("plan.toml")), bench, 0, silently)
    assert [result.noise for result in found] == [
        "noise gaussian:25 added with seed 0",
        "noise poisson:30 added with seed 0",
    ]
    methods = ["noisy", "fast.safetensors", "total-variation"]
    assert [score.method for score in found[0].scores] == methods
    # A published figure stands beside the noise that it is of.
    assert [each.method for each in found[0].published] == ["Theirs"]
    assert found[1].published == []
    assert rows(found[0])[-1] == ("Theirs (somewhere)", "31.50", "", "", "", "")


def test_the_tables_are_markdown(bench):
    text = markdown(measure(read_plan(Path("plan.toml")), bench, 0, silently))
    assert "**Two: 2 images, noise gaussian:25 added with seed 0, told to every method**" in text
    assert text.count("| method | PSNR | SSIM |") == 2
    assert "| Theirs (somewhere) | 31.50 |  |  |  |  |" in text


def test_the_command_measures_one_folder_and_draws_strips(done):
    command = ("benchmark", "quality", "clean", "--corruption", "gaussian:25")
    command += ("-m", "fast.safetensors", "--strips", "strips")
    (result,) = json.loads(done(*command, "--json"))
    assert (result["set"], result["images"], result["told"]) == ("clean", 2, False)
    assert [score["method"] for score in result["scores"]] == ["noisy", "fast.safetensors"]
    assert Path("strips/clean-gaussian-25.png").is_file()
    assert "| method | PSNR" in done(*command, "--markdown")
    assert "clean: 2 images, noise gaussian:25 added" in done(*command)


def test_the_command_takes_a_plan(done, bench):
    found = json.loads(done("benchmark", "quality", bench, "--plan", "plan.toml", "--json"))
    assert [result["set"] for result in found] == ["Two", "Two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[set]]\nname = 3", "a set's name can't be used"),
        ('[[set]]\nname = "x"\nclean = "y"\nclen = "z"', "a set's clen can't be used"),
        ("name = 1", r"has no \[\[set\]\] table"),
        ("[[set", "is no TOML file"),
    ],
)
def test_plans_that_can_t_be_used_are_refused(text, words):
    Path("bad.toml").write_text(text)
    with pytest.raises(UserError, match=words):
        read_plan(Path("bad.toml"))


def test_a_missing_plan_is_refused():
    with pytest.raises(UserError, match=r"none\.toml can't be read"):
        read_plan(Path("none.toml"))


def test_a_set_names_one_kind_of_noise(bench):
    for more in ({}, {"corruptions": ["gaussian:25"], "noisy": Path("noisy")}):
        one = QualitySet(name="x", clean=Path("clean"), **more)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="the set x must name either"):
            measure([one], bench, 0, silently)


def test_one_output_is_printed(refused):
    command = ("benchmark", "quality", "clean", "--corruption", "gaussian:25")
    assert "either --markdown or --json" in refused(*command, "--markdown", "--json")


def test_models_are_also_fitted_to_each_image_and_every_second_is_enough(
    done, make_model, monkeypatch
):
    monkeypatch.setattr("noise2noise.single.adaptation._STEPS", 2)
    monkeypatch.setattr("noise2noise.single.STEPS", 2)
    sizes = {"width": 4, "depth": 1, "blocks": 1}
    make_model("told", "guided", channels=3, **sizes).rename("told.safetensors")
    arguments = ["--model", "told.safetensors", "--single", "--from-scratch", "--every", "2"]
    (found,) = json.loads(
        done("benchmark", "quality", "clean", "--corruption", "gaussian:25", *arguments, "--json")
    )
    assert found["images"] == 1
    methods = ["noisy", "told.safetensors", "told.safetensors, fitted", "from scratch"]
    assert [score["method"] for score in found["scores"]] == methods
