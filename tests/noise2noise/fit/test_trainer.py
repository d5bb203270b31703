"""The Trainer: exact resume above all, then what it keeps, and what it refuses in one sentence."""

import csv
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from chainrule import L1, MSE, LogMSE, cosine, serialization, summary
from chainrule.serialization import load_tensors, replacing, save_tensors
from noise2noise import figures, networks
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.fit import (
    DivergedError,
    Observer,
    Trainer,
    TrainingConfig,
    TrainingStopped,
    configure,
    stored_config,
)
from noise2noise.fit import folder as fit_folder
from noise2noise.fit import trainer as fit_trainer
from noise2noise.fit.observer import Epoch, Position
from noise2noise.metrics import mean_psnr, psnr

STEPS = 6
"""Steps of an epoch on `folders`: 6 images of 4 crops, 4 to a batch; a seventh is held back."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are done before a second thread has woken up. For the whole module,
    because the runs that are compared must have as many threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bytes_in(folder: Path) -> dict[Path, bytes]:
    """All files of a run."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scene(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    """A smooth grey picture in [0.2, 0.8]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 16
    a, b, c = rng.uniform(-2, 2, 3)
    return 0.5 + 0.3 * np.sin(a * x + b * y + c)


def noisy(clean: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, clean.shape)
    return np.rint(255 * (clean + noise).clip(0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Seven pairs of small noisy images as files."""
    root = tmp_path_factory.mktemp("pairs")
    for side in (0, 1):
        (root / f"{side}").mkdir()
        for number in range(7):
            image = PIL.Image.fromarray(noisy(scene(number), 100 * side + number))
            image.save(root / f"{side}" / f"{number}.png")
    return root / "0", root / "1"


def tiny(folders: tuple[Path, Path], **options: Any) -> TrainingConfig:
    small = {
        "pairs": folders,
        "crop": 16,
        "sizes": {"width": 4, "depth": 0},
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 3e-3,
    }
    return configure(**{**small, **options})


def trainer_of(config: TrainingConfig, folder: Path) -> Trainer:
    return Trainer(config, folder, Watcher())


def pair_file(path: Path, count: int, height: int, width: int, channels: int = 1) -> Path:
    """A file of (noisy, clean) tensors."""
    clean = np.stack([scene(50 + number, height, width) for number in range(count)])
    sides = [noisy(clean, 7), np.rint(255 * clean).astype(np.uint8)]
    tensors = [torch.from_numpy(side)[:, None].repeat(1, channels, 1, 1) for side in sides]
    torch.save(tuple(tensors), path)
    return path


def call_after(trainer: Trainer, step: int, action: Callable[[], None]) -> None:
    """Call `action` as soon as the optimizer has taken that many steps."""
    step_of_optimizer = trainer.optimizer.step

    def step_and_act() -> None:
        step_of_optimizer()
        if trainer.optimizer.steps == step:
            action()

    trainer.optimizer.step = step_and_act  # type: ignore[method-assign]


class Watcher(Observer):
    """Stops a run once `stopping` is set, and notes what it is told."""

    def __init__(self) -> None:
        self.stopping = False
        self.steps: list[tuple[int, int]] = []
        self.epochs: list[tuple[Epoch, bool]] = []
        self.messages: list[str] = []

    def should_stop(self) -> bool:
        return self.stopping

    def on_step(self, position: Position) -> None:
        self.steps.append((position.epoch, position.step))

    def on_epoch(self, epoch: Epoch, best: bool) -> None:
        self.epochs.append((epoch, best))

    def on_message(self, text: str) -> None:
        self.messages.append(text)


def watcher_of(trainer: Trainer) -> Watcher:
    assert isinstance(trainer.observer, Watcher)
    return trainer.observer


def stop_after(trainer: Trainer, step: int) -> None:
    """Ask the trainer to stop as soon as the optimizer has taken that many steps."""
    call_after(trainer, step, lambda: setattr(trainer.observer, "stopping", True))


def contents(folder: Path) -> dict[str, Any]:
    """Everything in a run that must not depend on when it was stopped, and by whom."""
    found: dict[str, Any] = {"files": sorted(path.name for path in folder.iterdir())}
    for name in ("last", "best"):
        tensors, metadata = load_tensors(folder / f"{name}.safetensors")
        found[name] = {key: value.numpy().tobytes() for key, value in tensors.items()}
        facts = ("title", "noise", "sizes", "architecture", "validation_psnr")
        found[f"{name} facts"] = {key: metadata[key] for key in facts}
        if name == "last":
            found["position"] = position = json.loads(metadata["position"])
            for timed in (position, *position["history"]):
                del timed["seconds"]
    with open(folder / "history.csv", newline="") as file:
        found["history"] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return found


# Resuming.


@pytest.fixture(scope="module")
def undisturbed(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a run leaves that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    trainer_of(tiny(folders), folder).fit()
    return contents(folder)


@pytest.mark.parametrize(
    "stops",
    [[1], [STEPS + 3], [STEPS], [2 * STEPS], [2, 2 * STEPS - 1], [3, 4, 5]],
    ids=["first step", "middle", "an epoch's end", "the very end", "twice", "thrice"],
)
def test_a_stopped_run_ends_as_if_never_stopped(folders, tmp_path, undisturbed, stops):
    for number, step in enumerate(stops):
        trainer = trainer_of(tiny(folders), tmp_path)
        if number:
            trainer.resume()
        stop_after(trainer, step)
        with pytest.raises(TrainingStopped, match=f"stopped in epoch {(step - 1) // STEPS + 1}"):
            trainer.fit()
    resumed = trainer_of(tiny(folders, workers=5), tmp_path)
    torch.manual_seed(99)  # nothing may hang on torch's generator
    resumed.resume()
    assert resumed.position.epoch * STEPS + resumed.position.step == stops[-1]
    resumed.fit()
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "schedule": "ramp-down", "clip_norm": 0.01},
        {"optimizer": "adamw", "schedule": "constant", "loss": "l1"},
        {"loss": "log-mse"},
        {"ema": 0.9, "warmup": 3},
        {"architecture": "guided", "sizes": {"width": 4, "depth": 0, "blocks": 1}},
    ],
)
def test_every_optimizer_and_schedule_resumes(folders, tmp_path, options):
    config = tiny(folders, **options)
    trainer_of(config, tmp_path / "whole").fit()
    trainer = trainer_of(config, tmp_path / "parts")
    stop_after(trainer, STEPS + 2)
    with pytest.raises(TrainingStopped):
        trainer.fit()
    resumed = trainer_of(stored_config(tmp_path / "parts"), tmp_path / "parts")
    resumed.resume()
    resumed.fit()
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_the_kept_model_is_the_average_of_the_weights(folders, tmp_path):
    trainer = trainer_of(tiny(folders, ema=0.9, epochs=1), tmp_path)
    trainer.fit()
    best, _ = load_tensors(trainer.best)
    last, _ = load_tensors(trainer.last)
    for name, value in best.items():
        assert torch.equal(value, last[f"average/{name}"])
        assert not torch.equal(value, last[name])
    assert trainer.average is not None
    with trainer.average.applied():
        assert trainer.validate() == trainer.position.best_psnr


@pytest.mark.parametrize(("name", "loss"), [("mse", MSE), ("log-mse", LogMSE), ("l1", L1)])
def test_the_loss_is_the_one_asked_for(folders, tmp_path, name, loss):
    trainer = trainer_of(tiny(folders, loss=name, epochs=1), tmp_path)
    assert type(trainer.loss) is loss
    trainer.fit()
    assert (trainer.position.history[0].training_loss < 0) == (name == "log-mse")


def test_a_killed_run_goes_on_from_its_last_checkpoint(folders, tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(fit_trainer, "SAVE_SECONDS", 0)
    trainer = trainer_of(tiny(folders), tmp_path)
    call_after(trainer, STEPS + 3, crash)
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.fit()
    resumed = trainer_of(tiny(folders), tmp_path)
    resumed.resume()
    assert (resumed.position.epoch, resumed.position.step) == (1, 2)
    resumed.fit()
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "name", ["best.safetensors", "history.csv", "curves.png", "last.safetensors"]
)
def test_a_run_killed_between_the_files_of_its_last_epoch(
    folders, tmp_path, undisturbed, monkeypatch, name
):
    def replacing_until_killed(path: Path, overwrite: bool = False) -> Any:
        if path.name == name and epochs == [1, 2]:
            crash()
        return replacing(path, overwrite)

    epochs = []
    trainer = trainer_of(tiny(folders), tmp_path)
    validate = trainer.validate

    def counted() -> float:
        epochs.append(len(epochs) + 1)
        return validate()

    trainer.validate = counted  # type: ignore[method-assign]
    with monkeypatch.context() as patch:
        for module in (serialization, fit_folder, figures):
            patch.setattr(module, "replacing", replacing_until_killed)
        with pytest.raises(RuntimeError, match="power cut"):
            trainer.fit()
    resumed = trainer_of(tiny(folders), tmp_path)
    resumed.resume()
    resumed.fit()
    assert contents(tmp_path) == undisturbed


def crash() -> None:
    raise RuntimeError("power cut")


def test_a_request_to_stop_while_validating_stops_at_the_next_step(folders, tmp_path, undisturbed):
    trainer = trainer_of(tiny(folders), tmp_path)
    validate = trainer.validate

    def interrupted() -> float:
        watcher_of(trainer).stopping = True
        return validate()

    trainer.validate = interrupted  # type: ignore[method-assign]
    with pytest.raises(TrainingStopped):
        trainer.fit()
    assert (trainer.position.epoch, trainer.position.step) == (1, 1)
    resumed = trainer_of(tiny(folders), tmp_path)
    resumed.resume()
    resumed.fit()
    assert contents(tmp_path) == undisturbed


def test_more_epochs_may_be_asked_for(folders, tmp_path):
    constant = {"schedule": "constant"}
    trainer_of(tiny(folders, epochs=2, **constant), tmp_path / "whole").fit()
    trainer_of(tiny(folders, epochs=1, **constant), tmp_path / "parts").fit()
    longer = trainer_of(tiny(folders, epochs=2, **constant), tmp_path / "parts")
    longer.resume()
    longer.fit()
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_run_has_nothing_left_to_do(folders, tmp_path):
    trainer_of(tiny(folders, epochs=1), tmp_path).fit()
    files = bytes_in(tmp_path)
    again = trainer_of(tiny(folders, epochs=1), tmp_path)
    again.resume()
    again.fit()
    assert bytes_in(tmp_path) == files


def test_a_new_run_replaces_an_older_one_at_once(folders, tmp_path):
    trainer_of(tiny(folders, epochs=1), tmp_path).fit()
    trainer = trainer_of(tiny(folders, learning_rate=1e-4), tmp_path)
    stop_after(trainer, 1)
    with pytest.raises(TrainingStopped):
        trainer.fit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "last.safetensors"]
    assert stored_config(tmp_path).learning_rate == 1e-4


# What can't be resumed.


@pytest.fixture
def run(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder with a run that was stopped."""
    trainer = trainer_of(tiny(folders), tmp_path / "run")
    stop_after(trainer, 2)
    with pytest.raises(TrainingStopped):
        trainer.fit()
    return tmp_path / "run"


def test_no_run_to_resume(folders, tmp_path):
    words = "can't go on with this run: there is no file .*last.safetensors"
    with pytest.raises(UserError, match=words):
        trainer_of(tiny(folders), tmp_path).resume()
    with pytest.raises(UserError, match=words):
        stored_config(tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_checkpoint_cut_short(folders, run, share):
    last = run / "last.safetensors"
    whole = last.read_bytes()
    last.write_bytes(whole[: int(share * len(whole))])
    for attempt in (trainer_of(tiny(folders), run).resume, lambda: stored_config(run)):
        with pytest.raises(UserError, match=r"last\.safetensors is not a whole safetensors file"):
            attempt()


def test_a_model_that_is_no_checkpoint(folders, run):
    tensors, _ = load_tensors(run / "last.safetensors")
    save_tensors(run / "last.safetensors", tensors, {"sizes": "{}"}, overwrite=True)
    for attempt in (trainer_of(tiny(folders), run).resume, lambda: stored_config(run)):
        with pytest.raises(UserError, match=r"last\.safetensors is not a checkpoint of a training"):
            attempt()


def test_a_checkpoint_whose_tensors_do_not_fit(folders, run):
    tensors, metadata = load_tensors(run / "last.safetensors")
    tensors.pop("optimizer/steps")
    save_tensors(run / "last.safetensors", tensors, metadata, overwrite=True)
    with pytest.raises(UserError, match=r"last\.safetensors is not a checkpoint of a training"):
        trainer_of(tiny(folders), run).resume()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "zhao", "sizes": {}}, "has architecture 'compact', not 'zhao'; go on"),
        ({"sizes": {"width": 5}}, "has sizes {'width': 4, 'depth': 0}, not {'width': 5}"),
        ({"learning_rate": 0.5}, "has learning_rate 0.003, not 0.5"),
        ({"optimizer": "sgd"}, "has optimizer 'adam', not 'sgd'"),
        ({"seed": 1}, "has seed 0, not 1"),
    ],
)
def test_a_run_with_other_options(folders, run, options, words):
    with pytest.raises(UserError, match=words):
        trainer_of(tiny(folders, **options), run).resume()


def test_data_that_have_changed(folders, run, tmp_path):
    for side, folder in enumerate(folders):
        (tmp_path / f"{side}").mkdir()
        for path in sorted(folder.iterdir())[:-1]:
            (tmp_path / f"{side}" / path.name).write_bytes(path.read_bytes())
    fewer = tiny(folders, pairs=(tmp_path / "0", tmp_path / "1"))
    with pytest.raises(UserError, match="had 6 steps an epoch, but its data make 5 now"):
        trainer_of(fewer, run).resume()


def test_data_that_have_moved(folders, run, tmp_path, undisturbed):
    for side, folder in enumerate(folders):
        (tmp_path / f"{side}").symlink_to(folder)
    moved = tiny(folders, pairs=(tmp_path / "0", tmp_path / "1"))
    resumed = trainer_of(moved, run)
    resumed.resume()
    resumed.fit()
    got, expected = contents(run), undisturbed
    assert got["last"] == expected["last"]
    assert got["history"] == expected["history"]


# What is learned, and what is kept.


def test_layers_are_merged_and_weights_have_the_names_they_have_alone(folders, tmp_path):
    trainer = trainer_of(tiny(folders, epochs=1), tmp_path)
    rows = summary(trainer.model, (1, 1, 16, 16)).rows
    assert "Conv2d + ReLU" in {row.layer for row in rows}
    trainer.fit()
    alone = networks.build("compact", width=4, depth=0, channels=1)
    saved = load_tensors(trainer.best)[0]
    alone.load_state_dict(saved)
    assert list(saved) == sorted(alone.state_dict())


def test_noisy_pairs_alone_teach_to_denoise(tmp_path):
    config = configure(
        generated=20,
        corruption="gaussian:40",
        crop=32,
        sizes={"width": 12, "depth": 0, "channels": 1},
        epochs=4,
        batch_size=8,
        learning_rate=4e-3,
    )
    trainer = trainer_of(config, tmp_path)
    before = np.mean([psnr(noisy, clean) for noisy, clean in trainer.validation.pairs])
    trainer.fit()
    values = [row.validation_psnr for row in trainer.position.history]
    assert trainer.position.best_psnr == max(values) > before + 3


def test_history_and_curves(folders, tmp_path):
    config = tiny(folders)
    trainer = trainer_of(config, tmp_path)
    learning_rates, losses, sizes = [], [], []
    optimizer_step, loss_forward = trainer.optimizer.step, trainer.loss.forward

    def step() -> None:
        learning_rates.append(trainer.optimizer.lr)
        optimizer_step()

    def forward(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        losses.append(float(((prediction - target) ** 2).mean()))
        sizes.append(len(prediction))
        return loss_forward(prediction, target)

    trainer.optimizer.step = step  # type: ignore[method-assign]
    trainer.loss.forward = forward  # type: ignore[method-assign]
    trainer.fit()
    assert learning_rates == [cosine(3e-3, 2 * STEPS)(number) for number in range(2 * STEPS)]
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for epoch, row in enumerate(rows):
        part = slice(epoch * STEPS, (epoch + 1) * STEPS)
        assert int(row["epoch"]) == epoch + 1
        assert int(row["step"]) == part.stop
        assert float(row["learning_rate"]) == learning_rates[part.stop - 1]
        mean = np.average(losses[part], weights=sizes[part])
        assert float(row["training_loss"]) == pytest.approx(mean, rel=1e-5)
        assert float(row["seconds"]) > 0
    assert len(rows) == 2
    with PIL.Image.open(tmp_path / "curves.png") as image:
        assert image.width > 600
    assert TrainingConfig.model_validate_json((tmp_path / "config.json").read_text()) == config


def test_curves_are_drawn_now_and_then_and_when_training_ends_or_is_stopped(
    folders, tmp_path, monkeypatch
):
    drawn: list[int] = []
    monkeypatch.setattr(figures, "save_curves", lambda rows, *_, **__: drawn.append(len(rows)))
    trainer_of(tiny(folders, epochs=4), tmp_path / "ended").fit()
    assert drawn == [1, 4]

    drawn.clear()
    trainer = trainer_of(tiny(folders, epochs=4), tmp_path / "stopped")
    stop_after(trainer, 3 * STEPS + 1)
    with pytest.raises(TrainingStopped):
        trainer.fit()
    assert drawn == [1, 3]

    drawn.clear()
    monkeypatch.setattr(fit_trainer, "DRAW_SECONDS", 0)
    trainer_of(tiny(folders, epochs=3), tmp_path / "slow").fit()
    assert drawn == [1, 2, 3]


def test_best_is_the_best_and_not_the_last(folders, tmp_path):
    trainer = trainer_of(tiny(folders, epochs=3), tmp_path)
    values = iter([20.0, 30.0, 25.0])
    states = []

    def validate() -> float:
        states.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
        return next(values)

    trainer.validate = validate  # type: ignore[method-assign]
    trainer.fit()
    for path, epoch, best in [(trainer.best, 2, "30.00"), (trainer.last, 3, "30.00")]:
        tensors, metadata = load_tensors(path)
        assert all(torch.equal(tensors[name], value) for name, value in states[epoch - 1].items())
        assert metadata["validation_psnr"] == best


def test_the_best_model_can_be_used(folders, tmp_path):
    trainer = trainer_of(tiny(folders, epochs=1), tmp_path)
    trainer.fit()
    picture = scene(3).astype(np.float32)[None]
    denoised = Denoiser.load(tmp_path).denoise_unit(picture)
    expected = trainer.model.infer(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_allclose(denoised, expected, atol=1e-6)


def test_clean_references_are_not_to_be_left_but_noisy_ones_leave_the_range_themselves(
    folders, tmp_path
):
    file = pair_file(tmp_path / "clean.pkl", 2, 32, 32)
    for config, clean in ((tiny(folders, validation=file), True), (tiny(folders), False)):
        trainer = trainer_of(config, tmp_path / f"{clean}")
        trainer.model.infer = lambda x: x * 3 - 1  # type: ignore[method-assign]
        assert trainer.validation.reference_is_clean == clean
        predictions = [3 * x - 1 for x, _ in trainer.validation.pairs]
        if clean:
            predictions = [np.clip(values, 0, 1) for values in predictions]
        references = [reference for _, reference in trainer.validation.pairs]
        assert trainer.validate() == pytest.approx(mean_psnr(predictions, references), rel=1e-6)


def test_validation_images_of_their_own(folders, tmp_path):
    file = pair_file(tmp_path / "clean.pkl", 3, 17, 23)
    trainer = trainer_of(tiny(folders, validation=file), tmp_path)
    assert [x.shape for x, _ in trainer.validation.pairs] == [(1, 16, 16)] * 3
    assert trainer.source.images == 7  # none is held back
    small = pair_file(tmp_path / "small.pkl", 2, 11, 30)
    trainer = trainer_of(tiny(folders, validation=small), tmp_path)
    assert [x.shape for x, _ in trainer.validation.pairs] == [(1, 10, 10)] * 2


# What goes wrong on the way.


def finite(path: Path) -> bool:
    return all(bool(value.isfinite().all()) for value in load_tensors(path)[0].values())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_loss_that_is_not_finite_from_the_start(folders, tmp_path, optimizer):
    config = tiny(folders, optimizer=optimizer, learning_rate=1e30, schedule="constant")
    trainer = trainer_of(config, tmp_path)
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    words = r"is not a finite number after \d+ steps?, with learning rate 1e\+30; the last good"
    with pytest.raises(DivergedError, match=words):
        trainer.fit()
    assert finite(trainer.last)
    resumed = trainer_of(config, tmp_path)
    resumed.resume()
    assert resumed.position.step == 0
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, start[name])


def test_a_loss_that_is_not_finite_later_on_leaves_the_good_epochs(folders, tmp_path):
    trainer = trainer_of(tiny(folders), tmp_path)
    schedule = trainer.schedule
    trainer.schedule = lambda step: schedule(step) if step < STEPS + 1 else 1e25
    words = r"the loss is not a finite number after 8 steps, with learning rate 1e\+25"
    with pytest.raises(DivergedError, match=words):
        trainer.fit()
    assert finite(trainer.last)
    assert finite(trainer.best)
    resumed = trainer_of(tiny(folders), tmp_path)
    resumed.resume()
    assert (resumed.position.epoch, resumed.position.step) == (1, 0)
    assert np.isfinite(resumed.validate())


@pytest.mark.parametrize("where", ["weight", "average"])
def test_what_is_not_finite_is_never_saved(folders, tmp_path, where):
    trainer = trainer_of(tiny(folders, epochs=1), tmp_path)

    def spoil() -> None:
        value = trainer.optimizer.state_dict()["0.square"]
        (value if where == "average" else trainer.model.parameters()[0]).view(-1)[0] = torch.inf
        watcher_of(trainer).stopping = True

    call_after(trainer, 3, spoil)
    with pytest.raises(DivergedError, match=r"after 3 steps, with learning rate 0\.00225"):
        trainer.fit()
    assert finite(trainer.last)


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "history.csv"])
def test_a_full_disk_leaves_what_was_saved(folders, tmp_path, undisturbed, monkeypatch, name):
    trainer = trainer_of(tiny(folders), tmp_path)
    stop_after(trainer, STEPS + 2)
    with pytest.raises(TrainingStopped):
        trainer.fit()
    saved = bytes_in(tmp_path)

    def full(path: Path, overwrite: bool = False) -> Any:
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replacing(path, overwrite)

    resumed = trainer_of(tiny(folders), tmp_path)
    resumed.resume()
    with monkeypatch.context() as patch:
        patch.setattr(serialization, "replacing", full)
        patch.setattr(fit_folder, "replacing", full)
        with pytest.raises(UserError, match=r"can't write .*: No space left on device; what was"):
            resumed.fit()
    assert saved[tmp_path / "last.safetensors"] == (tmp_path / "last.safetensors").read_bytes()
    again = trainer_of(tiny(folders), tmp_path)
    again.resume()
    again.fit()
    assert contents(tmp_path) == undisturbed


def test_a_disk_that_refuses(folders, run):
    resource = pytest.importorskip("resource")
    before = bytes_in(run)
    resumed = trainer_of(tiny(folders), run)
    resumed.resume()
    stop_after(resumed, 4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(UserError, match=r"can't write .*last\.safetensors: File too large"):
            resumed.fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bytes_in(run) == before


def test_a_folder_that_can_not_be_made_is_told_before_training(folders, tmp_path):
    (tmp_path / "file").write_text("x")
    trainer = trainer_of(tiny(folders), tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"can't write .*run: Not a directory"):
        trainer.fit()
    assert trainer.optimizer.steps == 0


# Options.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rat": 1}, "there is no option learning_rat; did you mean learning_rate[?]"),
        ({"zzz": 1}, "there is no option zzz$"),
        ({"generated": None}, "give exactly one source: two folders of pairs, a stack"),
        ({"photos": "p"}, "give exactly one source"),
        ({"pairs": ("a", "b"), "pairs_file": "c", "generated": None}, "give exactly one source"),
        ({"corruption": None}, "generated pictures need a corruption, such as gaussian:25"),
        (
            {"generated": None, "pairs": ("a", "b")},
            "the pairs are noisy already; leave out the corruption gaussian:25",
        ),
        ({"pairs": ("a",), "generated": None}, "^pairs.1: field required"),
        ({"pairs": ("a", "b", "c"), "generated": None}, "^pairs: tuple should have at most 2"),
        ({"generated": 1}, "^generated: input should be greater than or equal to 2, got 1"),
        ({"learning_rate": 0}, "^learning_rate: input should be greater than 0, got 0"),
        ({"learning_rate": "fast"}, "^learning_rate: .*valid number.*got 'fast'"),
        ({"learning_rate": float("nan")}, "^learning_rate: .*finite number, got nan"),
        ({"learning_rate": float("inf")}, "^learning_rate: .*finite number, got inf"),
        ({"clip_norm": float("nan")}, "^clip_norm: "),
        ({"clip_norm": -1}, "^clip_norm: .*greater than 0, got -1"),
        ({"momentum": 1}, "^momentum: .*less than 1, got 1"),
        ({"momentum": float("nan")}, "^momentum: "),
        ({"epochs": 0}, "^epochs: .*greater than or equal to 1, got 0"),
        ({"epochs": 1.5}, "^epochs: .*integer.*got 1.5"),
        ({"batch_size": 0}, "^batch_size: "),
        ({"workers": 0}, "^workers: "),
        ({"seed": -1}, "^seed: "),
        ({"crop": 7}, "^crop: .*greater than or equal to 8, got 7"),
        ({"loss": "l2"}, "^loss: input should be 'mse', 'log-mse' or 'l1', got 'l2'"),
        ({"optimizer": "lion"}, "^optimizer: .*'adam', 'adamw' or 'sgd', got 'lion'"),
        ({"sizes": {"width": "wide"}}, "^sizes.width: .*integer.*got 'wide'"),
    ],
)
def test_options_that_are_refused(options, words):
    with pytest.raises(UserError, match=words) as refused:
        configure(**{"generated": 4, "corruption": "gaussian:25", **options})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": 17}, "crop must be a multiple of 2 for compact, got 17"),
        ({"crop": 40, "sizes": {"depth": 3}}, "crop must be a multiple of 16 for compact, got 40"),
        ({"architecture": "compcat"}, "no architecture 'compcat'; did you mean compact[?]"),
        ({"sizes": {"hight": 3}}, "compact has no size 'hight'"),
        ({"sizes": {"channels": 3}}, "is to have 3 channels, but the images have 1; leave"),
        ({"sizes": {"channels": 2}}, "channels must be 1 .* or 3 .*, got 2"),
        ({"pairs": None, "pairs_file": "none.pkl"}, "there is no file none.pkl"),
        ({"pairs": None, "generated": 4, "corruption": "gausian:25"}, "did you mean gaussian:25"),
        ({"pairs": None, "photos": "none", "corruption": "gaussian:25"}, "none"),
        ({"validation": "none.pkl"}, "there is no file none.pkl"),
    ],
)
def test_data_that_are_refused(folders, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        trainer_of(tiny(folders, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_images_that_do_not_suit(folders, tmp_path):
    colour = pair_file(tmp_path / "colour.pkl", 2, 32, 32, channels=3)
    with pytest.raises(UserError, match=r"colour\.pkl: the images have 3 channels, but those to"):
        trainer_of(tiny(folders, validation=colour), tmp_path)
    small = pair_file(tmp_path / "small.pkl", 2, 6, 32)
    deep = {"sizes": {"width": 2, "depth": 2}, "validation": small}
    with pytest.raises(
        UserError, match=r"small\.pkl: the images are 32 x 6; compact needs at least"
    ):
        trainer_of(tiny(folders, **deep), tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_generated_pictures_in_grey_and_colour(tmp_path, channels):
    config = configure(
        generated=2, corruption="poisson:30", crop=8, sizes={"channels": channels, "width": 2}
    )
    trainer = trainer_of(config, tmp_path)
    assert trainer.source.channels == trainer.sizes["channels"] == channels


def test_the_observer_sees_every_step_and_every_epoch(folders, tmp_path):
    trainer = trainer_of(tiny(folders), tmp_path)
    trainer.fit()
    seen = watcher_of(trainer)
    within = [(epoch, step) for epoch in range(2) for step in range(1, STEPS + 1)]
    assert seen.steps == sorted([(0, 0), *within, (1, 0), (2, 0)])
    assert [epoch for epoch, _ in seen.epochs] == trainer.position.history
    best = [row.validation_psnr for row, best in seen.epochs if best][-1]
    assert best == trainer.position.best_psnr
    assert seen.messages == []


def test_reading_the_data_is_shown(folders, tmp_path):
    shown = []

    class Tracking(Observer):
        def track(self, items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
            shown.append((description, total))
            return items

    Trainer(tiny(folders), tmp_path, Tracking())
    assert shown == [("Reading pairs", 7), ("Comparing shots", 7)]


def test_the_caller_s_random_numbers_are_left_alone(folders, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    trainer = trainer_of(tiny(folders, epochs=1), tmp_path)
    trainer.fit()
    assert torch.equal(torch.rand(4), expected)


def test_a_run_begins_with_the_weights_that_its_seed_has_always_given(folders, tmp_path):
    trainer = trainer_of(tiny(folders, seed=3), tmp_path)
    torch.manual_seed(3)
    expected = networks.build("compact", width=4, depth=0, channels=1).state_dict()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, expected[name])


# Going on elsewhere.


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_a_resume_under_other_conditions_says_which_in_one_line_and_goes_on(
    folders, run, two_threads
):
    trainer = trainer_of(tiny(folders), run)
    trainer.resume()
    (line,) = watcher_of(trainer).messages
    assert line.endswith("under other conditions, so not to the bit as before: threads from 1 to 2")
    trainer.fit()
    assert trainer.position.epoch == 2


def test_a_resume_under_the_same_conditions_says_nothing(folders, run):
    trainer = trainer_of(tiny(folders), run)
    trainer.resume()
    assert watcher_of(trainer).messages == []


def test_a_checkpoint_of_version_0_1_goes_on(folders, run, undisturbed):
    tensors, metadata = load_tensors(run / "last.safetensors")
    del metadata["conditions"]  # which 0.1 did not write
    save_tensors(run / "last.safetensors", tensors, metadata, overwrite=True)
    trainer = trainer_of(tiny(folders), run)
    trainer.resume()
    assert watcher_of(trainer).messages == []
    trainer.fit()
    assert contents(run) == undisturbed


def test_a_run_begins_with_the_model_it_starts_from(folders, tmp_path):
    first = trainer_of(tiny(folders, epochs=1), tmp_path / "first")
    first.fit()
    second = trainer_of(tiny(folders, start_from=str(tmp_path / "first")), tmp_path / "second")
    best = load_tensors(first.best)[0]
    assert all(torch.equal(best[name], value) for name, value in second.model.state_dict().items())


def test_a_run_can_t_start_from_another_network(folders, tmp_path):
    trainer_of(tiny(folders, epochs=1), tmp_path / "first").fit()
    config = tiny(folders, sizes={"width": 5, "depth": 0}, start_from=str(tmp_path / "first"))
    with pytest.raises(UserError, match="of another network"):
        trainer_of(config, tmp_path / "second")
