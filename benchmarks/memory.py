"""What memory `noise2noise denoise --memory` takes: `python benchmarks/memory.py --memory 1GB`.

Makes a colour picture of 100 megapixels and a stack of 400 planes of 1024 x 1024 on the spot, as
TIFF, denoises each in a process of its own, and prints its peak of resident memory beyond its
start: beyond what it held when everything was loaded and a first, tiny image was done. Exits with
status 1 if that was more than allowed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noise2noise.files import Header, write_stack
from noise2noise.inference import parse_memory

ROWS = 256  # of a band that is made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return the exit status."""
    asked = _parser().parse_args(arguments)
    height = round(1e6 * asked.megapixels / asked.width)
    cases = {
        f"{asked.megapixels:g} megapixels": ((height, asked.width, 3), "YXS"),
        f"{asked.planes} planes of {asked.side}": ((asked.planes, asked.side, asked.side), "TYX"),
    }
    allowed, status = parse_memory(asked.memory), 0
    print(f"{'case':<24}{'allowed':>10}{'taken':>10}{'seconds':>10}{'s / MP':>10}")
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for name, (shape, axes) in cases.items():
            source = Path(folder) / f"{axes}.tif"
            make(source, shape, axes)
            taken, seconds = measure(source, asked.memory, asked.model)
            pixels = np.prod(shape[:2] if axes == "YXS" else shape) / 1e6
            print(
                f"{name:<24}{allowed / 1e6:>7.0f} MB{taken / 1e6:>7.0f} MB"
                f"{seconds:>10.1f}{seconds / pixels:>10.2f}",
                flush=True,
            )
            status |= taken > allowed
    return int(status)


def make(path: Path, shape: tuple[int, ...], axes: str) -> None:
    """Waves with noise, in 8 bits, band by band."""
    header = Header(axes, shape, np.dtype(np.uint8), "rgb" if axes == "YXS" else "grey")
    rng = np.random.default_rng(0)
    columns = np.sin(np.arange(header.width) / 40)[None, :, None]

    def band(top: int) -> np.ndarray:
        rows = np.arange(top, min(top + ROWS, header.height))
        waves = 128 + 50 * np.cos(rows / 60)[:, None, None] * columns
        noise = rng.normal(0, 15, (len(rows), header.width, header.samples))
        return np.rint(waves + noise).clip(0, 255).astype(np.uint8)

    tops = range(0, header.height, ROWS)
    write_stack(path, header, (band(top) for _ in range(header.planes) for top in tops))


def measure(source: Path, memory: str, model: str) -> tuple[int, float]:
    """Bytes beyond the start, and seconds, of denoising a file in a process of its own."""
    command = [sys.executable, __file__, "--child", str(source), "--memory", memory]
    done = subprocess.run([*command, "--model", model], stdout=subprocess.PIPE, check=True)
    taken, seconds = json.loads(done.stdout)
    source.with_stem(f"{source.stem}_denoised").unlink()
    return taken, seconds


def _child(source: Path, memory: str, model: str) -> None:
    from noise2noise.cli import main as command

    def run(image: Path) -> None:
        sys.argv = ["noise2noise", "denoise", str(image), "-q", "--memory", memory, "-m", model]
        with contextlib.suppress(SystemExit):
            command()

    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder, "tiny.tif")
        make(tiny, (16, 16, 3), "YXS")
        run(tiny)
    start, began = _peak(), time.perf_counter()
    run(source)
    if not source.with_stem(f"{source.stem}_denoised").is_file():
        sys.exit(1)
    print(json.dumps([_peak() - start, time.perf_counter() - began]))


def _peak() -> int:
    """The most that was resident so far, in bytes."""
    kibibytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibibytes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--memory", default="1GB", help="as denoise takes it")
    parser.add_argument("--model", default="photo")
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--width", type=int, default=10_000, help="of the picture, in pixels")
    parser.add_argument("--planes", type=int, default=400)
    parser.add_argument("--side", type=int, default=1024, help="of a plane, in pixels")
    parser.add_argument("--folder", help="where the files are made for a while")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    given = _parser().parse_args()
    if given.child is None:
        sys.exit(main())
    _child(given.child, given.memory, given.model)
