"""How good the results are: sets of images, with noise added or as recorded, through the shipped
models and their rivals.

A plan is a TOML file with a table `[[set]]` for each set of images; `benchmarks/quality.toml` is
the one behind docs/quality.md. Paths in it are relative to a folder given on the command line.

    [[set]]
    name = "CBSD68"
    clean = "cbsd68"                  # a folder of clean images
    corruptions = ["gaussian:25"]     # noise to add; or noisy = "folder" for recorded images
    models = ["photo"]                # none: the shipped model that suits each image
    against = ["non-local-means"]
    told = true                       # the methods are told the noise; by default they estimate it
    single = true                     # the models are also fitted to each image first
    scratch = true                    # and a network that learns from each image from nothing
    every = 10                        # of ten images the first only
    [[set.published]]
    corruption = "gaussian:25"
    method = "DnCNN"
    psnr = 31.24
    source = "Zhang et al. 2018, FFDNet, table 4"
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noise2noise.data import Track
from noise2noise.device import AUTO, resolved
from noise2noise.errors import UserError
from noise2noise.evaluation import Score, TestSet, corrupted, evaluate_all, recorded
from noise2noise.figures import save_comparison

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


class Published(BaseModel):
    """A figure from elsewhere, for the same images and noise."""

    model_config = ConfigDict(extra="forbid")

    corruption: str = ""
    method: str
    psnr: float
    source: str


class QualitySet(BaseModel):
    """One `[[set]]` of a plan; see the module's text."""

    model_config = ConfigDict(extra="forbid")

    name: str
    clean: Path
    corruptions: list[str] = []
    noisy: Path | None = None
    clean_suffix: str = Field("", description="ends the names of the clean files, before the dot")
    noisy_suffix: str = Field("", description="ends the names of the noisy files, before the dot")
    models: list[str] = []
    against: list[str] = []
    told: bool = False
    single: bool = False
    scratch: bool = False
    every: int = Field(1, ge=1)
    published: list[Published] = []

    def test_sets(self, root: Path, seed: int) -> list[tuple[str, TestSet]]:
        """Each kind of noise, and the images that have it.

        Raises:
            UserError: neither corruptions nor noisy images are named, or both, or a folder can't
                be used.
        """
        if bool(self.corruptions) == (self.noisy is not None):
            raise UserError(
                f"the set {self.name} must name either corruptions to add or a folder of noisy "
                "images"
            )
        clean = root / self.clean
        if self.noisy is None:
            return [(spec, corrupted(clean, spec, seed)) for spec in self.corruptions]
        noisy = root / self.noisy
        return [("", recorded(clean, noisy, self.clean_suffix, self.noisy_suffix))]


@dataclass(frozen=True)
class Result:
    """What was measured of one set with one kind of noise.

    Attributes:
        name: of the set.
        noise: one line.
        images: how many.
        told: whether the methods were told the noise.
        scores: a row a method.
        published: figures from elsewhere.
    """

    name: str
    noise: str
    images: int
    told: bool
    scores: list[Score]
    published: list[Published]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        figures = [each.model_dump() for each in self.published]
        return {
            "set": self.name,
            "noise": self.noise,
            "images": self.images,
            "told": self.told,
            "scores": [asdict(score) for score in self.scores],
            "published": figures,
        }


def read_plan(path: Path) -> list[QualitySet]:
    """The sets of a plan.

    Raises:
        UserError: the file can't be read, is no TOML, or has a table that is no set.
    """
    try:
        tables = tomllib.loads(path.read_text())
        return [QualitySet.model_validate(table) for table in tables["set"]]
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} has no [[set]] table; see benchmarks/quality.toml") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: a set's {where} can't be used: {first['msg']}") from error


def measure(
    sets: list[QualitySet],
    root: Path,
    seed: int,
    track: Track,
    strips: Path | None = None,
    device: str | torch.device = AUTO,
) -> list[Result]:
    """Run every method on every set.

    Arguments:
        sets: what to measure.
        root: the folder that their paths are relative to.
        seed: of the added noise.
        track: shows the progress.
        strips: a folder for pictures: each set's first image by each method, a detail of it.
        device: what computes the models.

    Raises:
        UserError: a set, an image, a model or a method can't be used.
    """
    where = resolved(device)
    planned = [(each, *found) for each in sets for found in each.test_sets(root, seed)]
    results = []
    for each, spec, all_images in planned:
        images = all_images.every(each.every)
        strip = _Strip() if strips else None
        scores = evaluate_all(
            images,
            each.models,
            each.against,
            track,
            each.told,
            strip.keep if strip else None,
            each.single,
            each.scratch,
            where,
        )
        published = [one for one in each.published if one.corruption in ("", spec)]
        results.append(
            Result(each.name, images.describe(), len(images), each.told, scores, published)
        )
        if strips and strip:
            strip.save(strips / f"{_file_name(each.name, spec)}.png", title(results[-1]))
    return results


_DETAIL = 96
"""Side in pixels of the detail that a strip of pictures enlarges."""


class _Strip:
    """The first image of a set, by each method."""

    def __init__(self) -> None:
        self._pictures: dict[str, np.ndarray] = {}

    def keep(self, index: int, name: str, picture: np.ndarray) -> None:
        if index == 0:
            self._pictures[name] = picture

    def save(self, path: Path, caption: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [*(name for name in self._pictures if name != "clean"), "clean"]
        panels = [(name, self._pictures[name]) for name in names]
        _, height, width = panels[0][1].shape
        side = min(_DETAIL, height, width)
        zoom = ((height - side) // 2, (width - side) // 2, side)
        save_comparison(path, panels, caption, overwrite=True, zoom=zoom)


def _file_name(*parts: str) -> str:
    kept = (c if c.isalnum() else "-" for c in "-".join(filter(None, parts)).lower())
    return "".join(kept).strip("-")


def markdown(results: list[Result]) -> str:
    """The results as docs/quality.md has them: a table for each set and noise."""
    return "\n\n".join(_section(result) for result in results)


HEADS = ("method", "PSNR", "SSIM", "scale-invariant PSNR", "harmed", "s / megapixel")


def rows(result: Result) -> list[tuple[str, ...]]:
    """The cells of a result's table, below HEADS; published figures come last."""
    ours = [
        (
            score.method,
            f"{score.psnr:.2f}",
            f"{score.ssim:.4f}",
            f"{score.scale_invariant_psnr:.2f}",
            "" if score.method == "noisy" else f"{score.harmed:.0%}",
            "" if score.method == "noisy" else f"{score.seconds_per_megapixel:.2f}",
        )
        for score in result.scores
    ]
    theirs = [
        (f"{each.method} ({each.source})", f"{each.psnr:.2f}", "", "", "", "")
        for each in result.published
    ]
    return ours + theirs


def title(result: Result) -> str:
    """One line: the set, its noise, and who knew it."""
    known = "told to every method" if result.told else "estimated by every method"
    count = f"{result.images} image{'' if result.images == 1 else 's'}"
    return f"{result.name}: {count}, {result.noise}, {known}"


def _section(result: Result) -> str:
    lines = [f"**{title(result)}**", ""]
    lines += [_line(HEADS), _line(["---", *("---:" for _ in HEADS[1:])])]
    lines += [_line(cells) for cells in rows(result)]
    return "\n".join(lines)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
