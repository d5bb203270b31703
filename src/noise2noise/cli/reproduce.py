"""`noise2noise reproduce`: the experiments of the five published reports, and a page of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.cli.common import OUT_FLAGS, device_option, examples, track
from noise2noise.errors import UserError

if TYPE_CHECKING:
    from noise2noise.studies.study import Scale, Study

ALL, SYSTEMS, REPORT = "all", "systems", "report"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "reproduce",
        epilog=examples(
            "noise2noise reproduce all --photos photos/ --validation val_data.pkl --quick",
            "noise2noise reproduce systems --photos photos/ --validation val_data.pkl",
            "noise2noise reproduce mery-widths mery-batches --fraction 0.2",
            "noise2noise reproduce report",
        ),
    )(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Studies (see --list); {ALL}; {SYSTEMS}, the main run of each report; "
            f"or {REPORT}, which only writes the page anew.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="A folder of photographs to make noisy pairs of; needed to begin."),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            "--val",
            help="A .pkl of (noisy, clean) images to validate on; needed to begin.",
        ),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            help="A folder of the reports' published weights, to compare with: coldenhoff, "
            "david, hilsberg, mery and mery_skip .safetensors, with our networks' names."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            *OUT_FLAGS,
            help="Where everything goes; reproduction, or with --quick reproduction-quick.",
            show_default=False,
        ),
    ] = None,
    fraction: Annotated[
        float,
        typer.Option(
            help="The studies beside the main runs learn from at most this share of the pairs.",
            min=0.001,
            max=1,
        ),
    ] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute of everything, to see that it works.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the pairs and of every run.", min=0)] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default as many as PyTorch takes.", min=1)
    ] = None,
    device: Annotated[str, device_option()] = "auto",
    listed: Annotated[
        bool, typer.Option("--list", help="Show the studies and which of them are done.")
    ] = False,
) -> None:
    """Train the networks of the five published reports by their own recipes, and compare.

    Makes 50,000 noisy pairs of the photographs, trains on them alone, and writes a page with tables
    and figures, reproduction.md. Main runs come first. What is done is kept and not done again;
    stopped with Ctrl-C, the same command goes on with the epoch that it stopped in. Without --quick
    it takes hours.
    """
    import torch

    from noise2noise.cli.common import messages
    from noise2noise.device import resolved
    from noise2noise.studies import data
    from noise2noise.studies.report import STUDIES, write
    from noise2noise.studies.study import Lab, Scale
    from noise2noise.studies.systems import measure_published

    scale = Scale(seed, fraction, quick)
    folder = output or Path("reproduction-quick" if quick else "reproduction")
    if listed:
        _list(folder, scale)
        return
    studies = _chosen(names or [])
    if threads is not None:
        torch.set_num_threads(threads)
    lab = Lab(folder, quick, resolved(device))
    if studies:
        try:
            data.prepare(folder, photos, val, scale.pairs, seed, track)
        except OSError as error:
            raise UserError(f"can't write {folder}: {error.strerror or error}") from error
        measure_published(lab, STUDIES.values(), published)
    command = _command(names or [], photos, val, published, scale, threads)
    try:
        for number, study in enumerate(studies, start=1):
            messages.print(f"{number}/{len(studies)} {study.name}: {study.title}")
            lab.do(study, scale, command, track, messages.print)
    except KeyboardInterrupt:
        messages.print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None
    finally:
        print(write(lab, scale))


def _chosen(names: list[str]) -> list[Study]:
    from noise2noise.studies.report import STUDIES

    if not names:
        raise UserError(f"name what to reproduce: {ALL}, {SYSTEMS}, {REPORT}, or a study (--list)")
    chosen: set[str] = set()
    for name in names:
        if name == ALL:
            chosen.update(STUDIES)
        elif name == SYSTEMS:
            chosen.update(each.name for each in STUDIES.values() if each.system is not None)
        elif name in STUDIES:
            chosen.add(name)
        elif name != REPORT:
            raise UserError(f"there is no study {name!r}; choose of {', '.join(STUDIES)}")
    return [study for name, study in STUDIES.items() if name in chosen]


def _list(folder: Path, scale: Scale) -> None:
    from rich.table import Table

    from noise2noise.cli.common import results
    from noise2noise.studies.report import STUDIES
    from noise2noise.studies.runs import result_of
    from noise2noise.studies.study import Lab

    table = Table("name", "what", "runs", "done", "pairs to see", box=None)
    lab = Lab(folder, scale.quick)
    for study in STUDIES.values():
        specs = {*study.runs(scale).values()}
        done = [spec for spec in specs if result_of(spec, lab.runs) is not None]
        left = sum(spec.pairs * spec.epochs for spec in specs.difference(done))
        measured = study.measure is None or lab.measured(study.name) is not None
        state = "yes" if measured and len(done) == len(specs) else f"{len(done)}"
        table.add_row(study.name, study.title, str(len(specs)), state, f"{left:,}")
    results.print(table)


def _command(
    names: list[str],
    photos: Path | None,
    val: Path | None,
    published: Path | None,
    scale: Scale,
    threads: int | None,
) -> str:
    """The command as the page shows it: where files lie is nobody's business."""
    words = ["noise2noise", "reproduce", *names]
    for option, path in (("--photos", photos), ("--validation", val), ("--published", published)):
        if path is not None:
            words += [option, path.name]
    for option, value, usual in (
        ("--fraction", f"{scale.fraction:g}", "1"),
        ("--seed", str(scale.seed), "0"),
        ("--threads", str(threads), "None"),
    ):
        if value != usual:
            words += [option, value]
    return shlex.join([*words, "--quick"] if scale.quick else words)
