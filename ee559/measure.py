"""Measure the best models: their PSNR on validation images, and an epoch of their training.

From the repository's root:

    python -m ee559.measure val_data.pkl
    python -m ee559.measure val_data.pkl --pairs train_data.pkl

Both files hold two tensors (N, 3, H, W), 0 to 255: (noisy, clean) the first, two noisy images of
the same scenes the second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import ee559.Miniproject_1.model
import ee559.Miniproject_2.model
from noise2noise.data import load_pair_file
from noise2noise.errors import UserError
from noise2noise.metrics import mean_psnr


def measure(validation: Path, pairs: Path | None) -> Iterator[str]:
    """A line for each mini-project.

    Raises:
        UserError: a file is missing, damaged, or not of colour images.
    """
    noisy, clean = load_pair_file(validation)
    training = None if pairs is None else load_pair_file(pairs)
    for project, module in (
        ("Miniproject_1", ee559.Miniproject_1.model),
        ("Miniproject_2", ee559.Miniproject_2.model),
    ):
        model = module.Model()
        model.load_pretrained_model()
        parameters = sum(value.numel() for value in model.network.parameters())
        psnr = mean_psnr(model.predict(noisy) / 255, clean.float() / 255)
        line = f"{project}  {parameters:,} parameters  {psnr:.2f} dB"
        if training is not None:
            started = time.perf_counter()
            model.train(*training, num_epochs=1)
            line += f"  {time.perf_counter() - started:.0f} s for {len(training[0]):,} pairs"
        yield line


def main() -> None:
    """The command line; a file that can't be used ends it with one sentence and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m ee559.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("validation", type=Path, help="a file of (noisy, clean)")
    parser.add_argument("--pairs", type=Path, help="a file of noisy pairs, to time an epoch with")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads", flush=True)
    try:
        for line in measure(arguments.validation, arguments.pairs):
            print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
