"""`noise2noise train`: two folders in, a model out; stopped and resumed, the same to the bit."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule.serialization import load_tensors
from noise2noise.cli import main
from noise2noise.denoiser import Denoiser
from noise2noise.files import Image, write_image
from noise2noise.fit import stored_config
from noise2noise.fit.lock import locked

TINY = ("--size", "width=4", "--crop", "16", "--batch-size", "4")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with A/ and B/, seven pairs of small noisy images, and a finished run of them."""
    root = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] / 9
    for folder in ("A", "B"):
        (root / folder).mkdir()
    for number in range(7):
        a, b = rng.uniform(-1, 1, 2)
        scene = 0.5 + 0.3 * np.sin(a * x + b * y)[..., None] * np.ones(3)
        for folder in ("A", "B"):
            noisy = (scene + rng.normal(0, 0.1, scene.shape)).clip(0, 1)
            path = root / folder / f"{number}.png"
            write_image(path, Image(np.rint(255 * noisy).astype(np.uint8)))
    command = ["noise2noise", "train", "--pairs", "A", "B", "--out", "run", "--epochs", "2", *TINY]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", command)
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    return root


@pytest.fixture(autouse=True)
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in that holds A/ and B/."""
    monkeypatch.chdir(tmp_path)
    for folder in ("A", "B"):
        shutil.copytree(prepared / folder, folder)
    return tmp_path


@pytest.fixture
def trained(prepared: Path, here: Path) -> Path:
    """The finished run of two epochs, in run/."""
    shutil.copytree(prepared / "run", "run")
    return Path("run")


def state(run: Path) -> dict[str, bytes]:
    """Weights and what the optimizer remembers, of the last and the best checkpoint."""
    return {
        f"{name}/{key}": tensor.numpy().tobytes()
        for name in ("last", "best")
        for key, tensor in load_tensors(run / f"{name}.safetensors")[0].items()
    }


def history(run: Path) -> list[list[str]]:
    """The lines of history.csv without the seconds."""
    lines = [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
    seconds = lines[0].index("seconds")
    return [line[:seconds] + line[seconds + 1 :] for line in lines]


def test_two_folders_of_noisy_images_become_a_model(run, photo_of_noise):
    status, out, err = run("train", "--pairs", "A", "B", "--out", "my runs/1", *TINY, "--epochs", 2)
    assert (status, out) == (0, "")
    assert "6 pairs of noisy images from A and B" in err
    assert "validation  1 image, PSNR against noisy partners" in err
    assert "epoch 2/2" in err
    folder = Path("my runs/1")
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "last.safetensors",
        "best.safetensors",
        "history.csv",
        "curves.png",
        "validation",
    }
    assert json.loads((folder / "config.json").read_text())["pairs"] == ["A", "B"]
    assert len(history(folder)) == 3

    (advice,) = (line for line in err.splitlines() if line.startswith("use it with: "))
    program, *arguments = shlex.split(advice.removeprefix("use it with: "))
    assert program == "noise2noise"
    arguments[arguments.index("image.png")] = str(photo_of_noise)
    assert run(*arguments).status == 0


@pytest.fixture
def photo_of_noise(here: Path) -> Path:
    path = here / "photo.png"
    write_image(path, Image(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)))
    return path


def test_a_run_stopped_by_ctrl_c_and_resumed_ends_with_the_same_weights(done, run):
    options = ("--pairs", "A", "B", "--epochs", "4", *TINY)
    done("train", *options, "--out", "straight")

    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-m", "noise2noise", "train", *options, "--out", "two sittings"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(Path("two sittings/history.csv"), process)  # the first epoch is done
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert len(history(Path("two sittings"))) < 5, "it was over before it was stopped"

    *_, before, command = err.rstrip().splitlines()
    assert before.startswith("stopped in epoch ")
    assert before.endswith("everything is saved. Go on with:")
    program, *arguments = shlex.split(command)
    assert program == "noise2noise"
    status, _, err = run(*arguments)
    assert status == 0
    assert "resumed     in epoch " in err
    assert state(Path("two sittings")) == state(Path("straight"))
    assert history(Path("two sittings")) == history(Path("straight"))


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} has not appeared"
        time.sleep(0.005)


def test_other_numbers_of_workers_give_the_same_weights(done, trained):
    done("train", "--pairs", "A", "B", "--out", "5", "--epochs", 2, *TINY, "--workers", 5)
    assert state(Path("5")) == state(trained)


def test_another_seed_gives_other_weights(done, trained):
    done("train", "--pairs", "A", "B", "--out", "other", "--epochs", 2, *TINY, "--seed", 1)
    assert state(Path("other")) != state(trained)


def test_a_recipe_gives_the_options_and_the_command_line_comes_first(done):
    Path("small.toml").write_text(
        'photos = "elsewhere"\ncrop = 16\nbatch_size = 4\nepochs = 9\nwarmup = 5\n'
        "[sizes]\nwidth = 4\n"
    )
    done("train", "--recipe", "small.toml", "--pairs", "A", "B", "--out", "run", "--epochs", 1)
    config = stored_config("run")
    assert (config.crop, config.sizes, config.epochs) == (16, {"width": 4}, 1)
    assert (config.warmup, config.photos) == (5, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("batchsize = 4", "there is no option batchsize; did you mean batch_size?"),
        ("crop = 3", "crop: input should be greater than or equal to 8, got 3"),
        ("crop = ", "the recipe bad.toml is not TOML"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(refused, text, reason):
    Path("bad.toml").write_text(text)
    assert reason in refused("train", "--recipe", "bad.toml", "--pairs", "A", "B", "--out", "run")
    assert "can't read the recipe no.toml" in refused(
        "train", "--recipe", "no.toml", "--pairs", "A", "B", "--out", "run"
    )


# Resuming.


def test_the_original_options_may_be_given_again(run, trained, here):
    before = state(trained)
    for folders in (("A", "B"), (here / "A", here / "B")):
        again = ("--pairs", *folders, "--epochs", 2, *TINY)
        status, _, err = run("train", "--out", "run", "--resume", *again)
        assert status == 0
        assert "all 2 epochs are done; add --epochs" in err
    assert state(trained) == before


def test_a_finished_run_goes_on_with_more_epochs(run, trained):
    status, _, err = run("train", "--out", "run", "--resume", "--epochs", 3)
    assert status == 0
    assert "resumed     in epoch 3, after step 0" in err
    assert len(history(trained)) == 4
    assert stored_config(trained).epochs == 3


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--batch-size", "2"), "batch_size 4, not 2"),
        (("--size", "width=8"), "{'width': 4}, not {'width': 8}"),
        (("--architecture", "zhao"), "architecture 'compact', not 'zhao'"),
        (("--lr", "0.01"), "learning_rate 0.001, not 0.01"),
        (("--loss", "l1"), "loss 'mse', not 'l1'"),
        (("--seed", "9"), "seed 0, not 9"),
        (("--photos", "A"), "does not learn from --photos"),
        (("--overwrite",), "give one only"),
    ],
)
def test_a_conflicting_option_is_refused_by_name(refused_late, trained, options, name):
    before = state(trained)
    assert name in refused_late("train", "--out", "run", "--resume", *options)
    assert state(trained) == before


@pytest.fixture
def refused_late(run: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """As `refused`, but progress may be told before."""

    def refused(*arguments: object) -> str:
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.count("error: ") == 1
        assert err.splitlines()[-1].startswith("error: ")
        return err.splitlines()[-1]

    return refused


def test_there_must_be_something_to_resume(refused):
    assert "there is no file nothing/last.safetensors" in refused(
        "train", "--out", "nothing", "--resume"
    )


def test_a_checkpoint_that_was_cut_in_half_is_refused(refused, trained):
    last = trained / "last.safetensors"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    sentence = refused("train", "--out", "run", "--resume")
    assert "run/last.safetensors is not a whole safetensors file" in sentence


def test_a_model_file_is_no_checkpoint(refused, trained):
    (trained / "last.safetensors").write_bytes((trained / "best.safetensors").read_bytes())
    sentence = refused("train", "--out", "run", "--resume")
    assert "run/last.safetensors is not a checkpoint of a training run" in sentence


# A run that is there already.


def test_a_run_is_not_written_over_without_being_asked(refused, done, trained):
    before = state(trained)
    again = ("train", "--pairs", "A", "B", "--out", "run", "--epochs", "1", *TINY)
    sentence = refused(*again)
    for way in ("run holds a run already", "--resume", "--overwrite", "another folder"):
        assert way in sentence
    assert state(trained) == before
    done(*again, "--overwrite", "--seed", 3)
    assert len(history(trained)) == 2
    assert Denoiser.load(trained)


def test_a_run_survives_an_overwrite_that_could_not_begin(refused, trained):
    before = state(trained)
    refused("train", "--pairs", "A", "C", "--out", "run", *TINY, "--overwrite")
    assert state(trained) == before


def test_a_folder_in_which_another_process_trains_is_refused(refused, trained):
    before = state(trained)
    with locked(trained):
        for options in (("--resume", "--epochs", 3), ("--pairs", "A", "B", *TINY, "--overwrite")):
            assert "another process is training in run; wait for it" in refused(
                "train", "--out", "run", *options
            )
    assert state(trained) == before


# What is refused.


@pytest.mark.parametrize("flag", ["--out", "-o", "--output"])
def test_a_single_folder_of_pairs_is_what_is_blamed(refused, flag):
    sentence = refused("train", "--pairs", "A", flag, "run")
    assert sentence.startswith("--pairs takes 2 values, FOLDER FOLDER; got A only")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            (),
            "give one of --pairs, --stack, --burst, --pairs-file, --photos, --generated to learn "
            "from, got none",
        ),
        (("--pairs", "A", "B", "--photos", "A"), "got --pairs and --photos"),
        (("--pairs", "A", "C"), "there is no folder C; check the name"),
        (("--pairs", "A", "A"), "both folders are A"),
        (("--pairs", "A", "B", "--architecture", "compcat"), "did you mean compact?"),
        (("--pairs", "A", "B", "--size", "width=wide"), "--size must be like width=64"),
        (("--pairs", "A", "B", "--size", "width=²"), "--size must be like width=64"),
        (("--pairs", "A", "B", "--size", "hight=4"), "compact has no size 'hight'"),
        (("--pairs", "A", "B", "--crop", "50"), "crop must be a multiple of 4"),
        (("--pairs", "A", "B", "--crop", "64"), "smaller than the 64 x 64 pixels"),
        (("--pairs", "A", "B", "--epochs", "0"), "epochs: input should be greater"),
        (("--pairs", "A", "B", "--lr", "nan"), "learning_rate: input should be a finite"),
        (("--pairs", "A", "B", "--loss", "l3"), "loss: input should be 'mse', 'log-mse' or 'l1'"),
        (("--pairs", "A", "B", "--corruption", "gaussian:9"), "leave out the corruption"),
        (("--photos", "A"), "need a corruption, such as gaussian:25"),
        (("--photos", "A", "--corruption", "gausian:25"), "did you mean gaussian:25?"),
        (("--photos", "empty", "--corruption", "gaussian:25"), "there is no image in empty"),
        (("--pairs-file", "a.pkl"), "there is no file a.pkl"),
    ],
)
def test_options_that_can_not_be_are_refused_before_a_folder_is_made(refused, options, reason):
    Path("empty").mkdir()
    assert reason in refused("train", "--out", "run", *options)
    assert not Path("run").exists()


def test_every_image_without_a_partner_is_named(refused):
    Path("A/6.png").unlink()
    Path("B/extra.png").write_bytes(Path("B/0.png").read_bytes())
    sentence = refused("train", "--pairs", "A", "B", "--out", "run", *TINY)
    assert "B/6.png" in sentence
    assert "B/extra.png" in sentence


def test_a_pair_of_different_sizes_is_named(refused):
    write_image("B/3.png", Image(np.zeros((40, 33, 3), np.uint8)), overwrite=True)
    sentence = refused("train", "--pairs", "A", "B", "--out", "run", *TINY)
    assert "A/3.png is 32 x 32 colour and B/3.png is 33 x 40 colour" in sentence


def test_a_damaged_image_is_named(refused):
    Path("B/3.png").write_bytes(Path("B/3.png").read_bytes()[:500])
    assert "B/3.png is damaged" in refused("train", "--pairs", "A", "B", "--out", "run", *TINY)


@pytest.mark.parametrize(
    ("out", "reason"),
    [("A/0.png", "A/0.png is a file"), ("A/0.png/run", "A/0.png/run can't be made")],
)
def test_a_folder_that_can_not_be_made_is_refused_before_data_are_read(refused, out, reason):
    assert reason in refused("train", "--pairs", "A", "B", "--out", out, *TINY)


def test_a_run_that_diverges_ends_with_status_1(run):
    wild = ("--optimizer", "sgd", "--lr", "1e20", "--epochs", "2")
    status, _, err = run("train", "--pairs", "A", "B", "--out", "run", *TINY, *wild)
    assert status == 1
    assert "is not a finite number after" in err.splitlines()[-1]
    assert "Traceback" not in err
