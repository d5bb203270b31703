"""`python -m ee559.measure`: what it prints, and what it refuses."""

import importlib
import re

import pytest
import torch

from noise2noise.metrics import mean_psnr


@pytest.fixture
def measure(monkeypatch, export):
    """Runs the command with arguments."""
    module = importlib.import_module("ee559.measure")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["measure", *map(str, arguments)])
        module.main()

    return run


def test_it_prints_the_psnr_of_both_models_and_the_time_of_an_epoch(measure, tmp_path, capsys):
    images = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8)
    torch.save(tuple(images), tmp_path / "val.pkl")
    measure(tmp_path / "val.pkl")
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading == f"{torch.get_num_threads()} threads"
    for project, line in zip(("Miniproject_1", "Miniproject_2"), lines, strict=True):
        model = importlib.import_module(f"ee559.{project}.model").Model()
        model.load_pretrained_model()
        psnr = mean_psnr(model.predict(images[0]), images[1].float(), peak=255)
        assert re.fullmatch(rf"{project}  [\d,]+ parameters  {psnr:.2f} dB", line)

    measure(tmp_path / "val.pkl", "--pairs", tmp_path / "val.pkl")
    timed = capsys.readouterr().out.splitlines()[1:]
    assert all(re.search(r" dB  \d+ s for 3 pairs$", line) for line in timed)


def test_a_file_that_is_not_there_is_one_sentence(measure, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        measure(tmp_path / "none.pkl")
    assert stop.value.code == 2
    assert re.fullmatch(r"error: there is no file .*none\.pkl.*\n", capsys.readouterr().err)
