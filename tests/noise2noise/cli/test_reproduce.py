"""`noise2noise reproduce`: all experiments of the reports, small, and the page of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule.serialization import save_tensors
from noise2noise.dead_leaves import dead_leaves
from noise2noise.files import Image, write_image
from noise2noise.networks import build
from noise2noise.noise.corruptions import parse
from noise2noise.studies.report import REPORTS, STUDIES


@pytest.fixture
def inputs(tmp_path: Path) -> list[object]:
    """--photos and --val: three generated photographs, and five validation images."""
    photos, noise = tmp_path / "photos", parse("subpixel:6")
    photos.mkdir()
    pairs = []
    for number in range(5):
        rng = np.random.default_rng(number)
        leaves = np.rint(255 * dead_leaves(192, rng))
        if number < 3:
            pixels = leaves.astype(np.uint8).transpose(1, 2, 0)
            write_image(photos / f"{number}.png", Image(np.ascontiguousarray(pixels)))
        pairs.append((noise.draw(leaves, rng), np.rint(noise.clean(leaves))))
    sides = (torch.from_numpy(np.stack(side)).byte() for side in zip(*pairs, strict=True))
    torch.save(tuple(sides), tmp_path / "val.pkl")
    return ["--photos", photos, "--val", tmp_path / "val.pkl", "--threads", 1]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    names = {
        "coldenhoff": "coldenhoff",
        "mery": "mery",
        "mery-skip": "mery_skip",
        "david": "david",
        "hilsberg-published": "hilsberg",
    }
    for name, file in names.items():
        save_tensors(folder / f"{file}.safetensors", build(name).state_dict())
    return folder


def figures(page: Path) -> list[Path]:
    return [page.parent / link for link in re.findall(r"!\[[^]]*]\(([^)]*)\)", page.read_text())]


def test_all_of_it_quickly(run, done, inputs, published, tmp_path):
    out = tmp_path / "out"
    arguments = [*inputs, "--quick", "--output", out]
    first = run("reproduce", "all", *arguments, "--published", published)
    assert (first.status, first.out) == (0, f"{out / 'reproduction.md'}\n")
    page = (out / "reproduction.md").read_text()
    assert "not run yet" not in page.lower()
    for study in REPORTS.values():
        assert f"## {study.title}\n" in page
    rows = re.findall(
        r"^\| ([\w-]+) \| [\d,]+ \| [\d.]+ \| (-|[\d.]+) \| \*\*[\d.]+\*\*", page, re.M
    )
    assert [name for name, _ in rows] == [
        "zhao",
        "coldenhoff",
        "mery",
        "mery-skip",
        "david",
        "hilsberg",
        "hilsberg-published",
    ]
    assert [name for name, psnr in rows if psnr == "-"] == ["zhao", "hilsberg"]
    beside = re.findall(
        r"^Best epoch, \d+: ([\d.]+) dB; (\w+) .* ([\d.]+) \((.*?)\)\. Last epoch: .*\.$",
        page,
        re.M,
    )
    assert [whose for _, whose, *_ in beside] == ["on", *4 * ["its"], "on", "its"]
    for ours, _, theirs, difference in beside:
        assert float(ours) - float(theirs) == pytest.approx(float(difference), abs=0.011)
    assert "The report doesn't say the batch size; 16 is an assumption." in page
    assert str(tmp_path) not in page  # where things lie is nobody's business
    shown = figures(out / "reproduction.md")
    assert len(shown) >= 15
    assert all(path.stat().st_size > 5_000 for path in shown)

    listed = done("reproduce", "--list", "--quick", "--output", out)
    assert re.findall(r"^ *([\w-]+) .* yes ", listed, re.M) == [*REPORTS]


@pytest.fixture
def of_paper(inputs, tmp_path: Path) -> list[object]:
    """--photos and --tests: three generated photographs, and two folders of test images."""
    arguments: list[object] = ["--photos", tmp_path / "photos", "--threads", 1]
    for name in ("Set14", "mine"):
        shutil.copytree(tmp_path / "photos", tmp_path / name)
        arguments += ["--tests", tmp_path / name]
    return arguments


def test_the_paper_quickly(run, done, of_paper, tmp_path):
    out, studies = tmp_path / "out", ["noise2noise-paper", "noise2noise-longer"]
    first = run("reproduce", *studies, *of_paper, "--quick", "--output", out)
    path = out / "noise2noise-paper.md"
    assert (first.status, first.out) == (0, f"{path}\n")
    page = path.read_text()
    assert "not run yet" not in page.lower()
    assert not (out / "reproduction.md").exists()
    rows = re.findall(r"^\| ([^|]+) \| (Set14|mine) \| ([^|]+(?: \| [^|]+){6}) \|$", page, re.M)
    assert len(rows) == 2 * 5
    figures_of = {(noise, name): figures.split(" | ") for noise, name, figures in rows}
    assert figures_of["Poisson, peak 30", "Set14"][-2:] == ["30.07", "30.06"]
    assert figures_of["Poisson, peak 30", "mine"][-2:] == ["-", "-"]
    for _, clean, noisy, _, cost, *_ in figures_of.values():
        assert float(noisy) - float(clean) == pytest.approx(float(cost), abs=0.011)
    losses = r"^\| [^|]*, (?:L1|squared error|annealed L0)(?: \| [\d.]+){2} \|$"
    assert len(re.findall(losses, page, re.M)) == 5
    assert "the paper 30.06" in page
    assert "with the surviving pixels put back" in page
    assert str(tmp_path) not in page
    shown = figures(path)
    assert len(shown) == 4
    assert all(each.stat().st_size > 5_000 for each in shown)

    listed = done("reproduce", "--list", "--quick", "--output", out)
    assert re.findall(r"^ *(noise2noise-\w+) .* yes ", listed, re.M) == studies
    path.unlink()
    again = run("reproduce", "report", "--quick", "--output", out)
    assert (again.status, path.read_text()) == (0, page)
    rest = run("reproduce", "noise2noise-paper", "--quick", "--output", out)
    assert (rest.status, "epoch" in rest.err) == (0, False)


def test_the_paper_when_it_was_stopped(run, done, of_paper, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["reproduce", "noise2noise-paper", *of_paper, "--quick", "--output", out]
    begun = []

    def interrupted(items, description, total):
        begun.append(description)
        if len([each for each in begun if each.startswith("compact")]) == 4:
            raise KeyboardInterrupt
        return items

    with monkeypatch.context() as patch:
        patch.setattr("noise2noise.cli.reproduce.track", interrupted)
        assert run(*arguments).status == 130
    page = (out / "noise2noise-paper.md").read_text()
    assert "*Not run yet: 17 of 18 runs. To do it: `noise2noise reproduce noise2noise-paper" in page
    row = r"^\| Gaussian, sigma 25 \| Set14(?: \| [\d.]+ \| -){2} \| - \|"
    assert re.search(row, page, re.M)
    assert "| - | - | - | - | 30.07 | 30.06 |" in page
    assert "![What the networks make" not in page
    course = [*of_paper[:2], "--val", tmp_path / "val.pkl"]
    done("reproduce", "david-network", *course, "--quick", "--output", out)
    assert "has [a page of its own](noise2noise-paper.md)" in (out / "reproduction.md").read_text()


def test_the_paper_needs_test_images(refused, of_paper, tmp_path):
    out = ["--quick", "--output", tmp_path / "out"]
    assert "and --tests (a folder" in refused("reproduce", "noise2noise-paper", *of_paper[:4], *out)


def test_the_page_is_written_from_whatever_is_there(run, done, inputs, tmp_path):
    out = tmp_path / "out"
    done("reproduce", "coldenhoff", *inputs, "--quick", "--output", out)
    page = (out / "reproduction.md").read_text()
    assert "| coldenhoff | 17,987 | 23.74 | **" in page  # and no column of published weights
    assert "| zhao | - | 24.20 | **-** |" in page
    assert "*Not run yet: 1 of 1 runs. To do it: `noise2noise reproduce zhao --quick`.*" in page
    assert "*Not measured yet. To do it: `noise2noise reproduce david-tolerance --quick`.*" in page
    assert (
        "noise2noise reproduce coldenhoff --photos photos --validation val.pkl --threads 1" in page
    )
    (out / "reproduction.md").unlink()
    assert done("reproduce", "report", "--quick", "--output", out).strip().endswith("tion.md")
    assert (out / "reproduction.md").read_text() == page

    again = run("reproduce", "coldenhoff", "--quick", "--output", out)
    assert again.status == 0
    assert again.err == "1/1 coldenhoff: Coldenhoff, Sun: coldenhoff\n"  # no epoch, no timing


def test_the_page_is_written_of_a_run_that_diverged(done, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("noise2noise.studies.study.QUICK_EPOCHS", 12)
    out = tmp_path / "out"
    done("reproduce", "david", *inputs, "--quick", "--output", out)
    (result,) = out.glob("runs/*/result.json")
    stored = json.loads(result.read_text())
    stored["result"].update(diverged=4, epochs=stored["result"]["epochs"][:3])
    result.write_text(json.dumps(stored))
    (result.parent / "epoch-10.safetensors").unlink()
    done("reproduce", "report", "--quick", "--output", out)
    page = (out / "reproduction.md").read_text()
    assert "Diverged: in epoch 4." in page
    assert "![Input, predictions after some epochs, and target]" in page


def test_ctrl_c_keeps_what_is_done_and_writes_the_page(run, done, inputs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["reproduce", "zhao", "coldenhoff", *inputs, "--quick", "--output", out]

    def interrupted(items, description, total):
        if description.startswith("coldenhoff 2/"):
            raise KeyboardInterrupt
        return items

    with monkeypatch.context() as patch:
        patch.setattr("noise2noise.cli.reproduce.track", interrupted)
        stopped = run(*arguments)
    assert stopped.status == 130
    assert "the same command goes on" in stopped.err
    page = (out / "reproduction.md").read_text()
    assert "| zhao | 44,211 |" in page
    assert "| coldenhoff | - |" in page
    rest = run(*arguments)
    assert rest.status == 0
    assert re.findall(r"(\w+)-\w+: epoch (\d)", rest.err) == [("coldenhoff", "2")]


def test_list_shows_every_study(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = done("reproduce", "--list")
    assert re.findall(r"^ *([a-z][\w-]+) +[A-Z]", listed, re.M) == [*STUDIES]
    assert not [*tmp_path.iterdir()]


def test_what_can_t_be_done_is_said(refused, run, inputs, tmp_path):
    out = ["--output", tmp_path / "out"]
    assert "name what to reproduce: all, systems, report, or a study" in refused("reproduce", *out)
    assert "there is no study 'zhoa'" in refused("reproduce", "zhoa", *inputs, *out)
    assert "to begin one, give --photos" in refused("reproduce", "zhao", *out)
    assert "of results; run a study" in refused("reproduce", "report", *out)
    assert run("reproduce", "zhao", "--fraction", 0, *out).status == 2
    assert not (tmp_path / "out").exists()
    missing = ["--published", tmp_path / "nowhere"]
    quick = ["reproduce", "david-network", *inputs, "--quick", *out]
    assert "--published" in refused(*quick, *missing)


def test_a_quick_run_and_a_full_one_don_t_mix(done, refused, inputs, tmp_path):
    out = ["--output", tmp_path / "out"]
    done("reproduce", "david-network", *inputs, "--quick", *out)
    assert "holds results of other data (pairs: 32 then, 50000 now)" in refused(
        "reproduce", "david-network", *out
    )


def test_help_shows_examples(done, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "noise2noise reproduce" in done("reproduce", "--help").split("Examples")[1]
