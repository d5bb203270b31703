"""Mini-project 1: the best denoiser that this project has.

The course asked for one written with `torch.nn` and autograd. This one is written with `chainrule`,
whose gradients are written by hand, and gives the same interface.
"""

from __future__ import annotations

from pathlib import Path

try:
    from ..course_model import CourseModel
except ImportError:  # the folder above is on the path itself, and so is no package
    from course_model import CourseModel  # pyright: ignore[reportMissingImports]


class Model(CourseModel):
    """The denoiser, for colour images; trained by Adam.

    Example:
        >>> model = Model()
        >>> model.load_pretrained_model()
        >>> model.predict(torch.randint(0, 256, (1, 3, 512, 512), dtype=torch.uint8)).shape
        torch.Size([1, 3, 512, 512])
    """

    best = Path(__file__).resolve().with_name("bestmodel.pth")
    fallback = "mery-skip"
    learning_rate = 1e-3
    batch_size = 16
    averaged = True
