"""Make a mini-project's `bestmodel.pth` out of a model that `noise2noise train` wrote.

From the repository's root:

    python -m ee559.export runs/best Miniproject_2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chainrule.serialization import replacing, write_torch
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError

HERE = Path(__file__).resolve().parent
PROJECTS = ("Miniproject_1", "Miniproject_2")


def export(model: str | Path, destination: str | Path, overwrite: bool = False) -> Path:
    """Write a model as plain tensors, texts and numbers that `torch.load(weights_only=True)` reads.

    Args:
        model: a run's folder, a `.safetensors` file of one, or the name of a shipped model.
        destination: the file to write.
        overwrite: whether it may replace one.

    Returns:
        The destination.

    Raises:
        UserError: there is no such model, or its file is damaged.
        FileExistsError: the destination exists and may not be replaced.
    """
    denoiser = Denoiser.load(model)
    content = {
        "architecture": denoiser.info.architecture,
        "sizes": denoiser.info.sizes,
        "weights": {
            name: value.detach().clone() for name, value in denoiser.model.state_dict().items()
        },
    }
    with replacing(destination, overwrite) as temporary:
        write_torch(temporary, content)
    return Path(destination)


def main() -> None:
    """The command line; a model that can't be used ends it with one sentence and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m ee559.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a run's folder, a .safetensors file or a shipped model")
    parser.add_argument("project", choices=PROJECTS, help="whose bestmodel.pth to replace")
    arguments = parser.parse_args()
    try:
        written = export(arguments.model, HERE / arguments.project / "bestmodel.pth", True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{written}  ({written.stat().st_size / 2**20:.2f} MiB)")


if __name__ == "__main__":
    main()
