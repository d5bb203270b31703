"""`noise2noise reproduce`: the experiments of the five published reports and of the Noise2Noise
paper, and pages of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.cli.common import OUT_FLAGS, device_option, examples, track
from noise2noise.errors import UserError

if TYPE_CHECKING:
    from noise2noise.studies.study import Lab, Scale, Study

ALL, SYSTEMS, REPORT = "all", "systems", "report"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "reproduce",
        epilog=examples(
            "noise2noise reproduce all --photos photos/ --validation val_data.pkl --quick",
            "noise2noise reproduce systems --photos photos/ --validation val_data.pkl",
            "noise2noise reproduce mery-widths mery-batches --fraction 0.2",
            "noise2noise reproduce noise2noise-paper --photos photos/ --tests set14/ --tests bsd/",
            "noise2noise reproduce report",
        ),
    )(reproduce)


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Studies (see --list); {ALL}, of the reports; {SYSTEMS}, the main run of each "
            f"report; or {REPORT}, which only writes the pages anew.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="A folder of photographs to make noisy images of; needed to begin."),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            "--val",
            help="A .pkl of (noisy, clean) images to validate on; the reports need it to begin.",
        ),
    ] = None,
    tests: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of test images, such as Set14; may be repeated. noise2noise-paper needs "
            "one to begin.",
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
            help="The studies beside the main runs learn from at most this share of the pairs, and "
            "the paper's runs take this share of their steps.",
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

    noise2noise-paper is the Noise2Noise paper's own experiment: the same network by clean targets,
    by noisy ones and by means of noisy ones, for five kinds of noise, and noise2noise-paper.md. It
    takes about an hour on two cores.
    """
    import torch

    from noise2noise.cli.common import messages
    from noise2noise.device import resolved
    from noise2noise.studies.report import write
    from noise2noise.studies.study import Lab, Scale

    scale = Scale(seed, fraction, quick)
    folder = output or Path("reproduction-quick" if quick else "reproduction")
    if listed:
        _list(folder, scale)
        return
    studies = _chosen(names or [])
    if threads is not None:
        torch.set_num_threads(threads)
    lab = Lab(folder, quick, resolved(device))
    try:
        _prepare(studies, lab, scale, photos, val, tests or [], published)
    except OSError as error:
        raise UserError(f"can't write {folder}: {error.strerror or error}") from error
    command = _command(names or [], photos, val, tests or [], published, scale, threads)
    try:
        for number, study in enumerate(studies, start=1):
            messages.print(f"{number}/{len(studies)} {study.name}: {study.title}")
            lab.do(study, scale, command, track, messages.print)
    except KeyboardInterrupt:
        messages.print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None
    finally:
        for page in write(lab, scale):
            print(page)


def _prepare(
    studies: list[Study],
    lab: Lab,
    scale: Scale,
    photos: Path | None,
    val: Path | None,
    tests: list[Path],
    published: Path | None,
) -> None:
    """Put into the lab's folder what these studies learn from and are measured on."""
    from noise2noise.studies import data, paper_data
    from noise2noise.studies.report import REPORTS
    from noise2noise.studies.systems import measure_published

    if any(study.name in REPORTS for study in studies):
        data.prepare(lab.folder, photos, val, scale.pairs, scale.seed, track)
        measure_published(lab, REPORTS.values(), published)
    if any(study.name not in REPORTS for study in studies):
        paper_data.prepare(lab.folder, photos, tests, scale.seed, scale.quick, track)


def _chosen(names: list[str]) -> list[Study]:
    from noise2noise.studies.report import REPORTS, STUDIES

    if not names:
        raise UserError(f"name what to reproduce: {ALL}, {SYSTEMS}, {REPORT}, or a study (--list)")
    chosen: set[str] = set()
    for name in names:
        if name == ALL:
            chosen.update(REPORTS)
        elif name == SYSTEMS:
            chosen.update(each.name for each in REPORTS.values() if each.system is not None)
        elif name in STUDIES:
            chosen.add(name)
        elif name != REPORT:
            raise UserError(f"there is no study {name!r}; choose of {', '.join(STUDIES)}")
    return [study for name, study in STUDIES.items() if name in chosen]


def _list(folder: Path, scale: Scale) -> None:
    from rich.table import Table

    from noise2noise.cli.common import results
    from noise2noise.studies.report import STUDIES
    from noise2noise.studies.run import result_of
    from noise2noise.studies.study import Lab

    table = Table("name", "what", "runs", "done", "pairs to see", box=None)
    lab = Lab(folder, scale.quick)
    for study in STUDIES.values():
        specs = {*study.runs(scale).values()}
        done = [spec for spec in specs if result_of(spec, lab.runs) is not None]
        left = sum(spec.seen for spec in specs.difference(done))
        measured = study.measure is None or lab.measured(study.name) is not None
        state = "yes" if measured and len(done) == len(specs) else f"{len(done)}"
        table.add_row(study.name, study.title, str(len(specs)), state, f"{left:,}")
    results.print(table)


def _command(
    names: list[str],
    photos: Path | None,
    val: Path | None,
    tests: list[Path],
    published: Path | None,
    scale: Scale,
    threads: int | None,
) -> str:
    """The command as the page shows it: where files lie is nobody's business."""
    words = ["noise2noise", "reproduce", *names]
    given = [("--photos", photos), ("--validation", val), *(("--tests", path) for path in tests)]
    for option, path in (*given, ("--published", published)):
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
