"""What people hand over as an image, and what they get back: the same kind of thing.

- `kind.py`: tells kinds apart; lists and tuples are denoised one by one.
- `arrays.py`: numpy's, masked ones too; dtype, byte order and order in memory stay.
- `tensors.py`: PyTorch's, (C, H, W); a batch is images on their own.
- `pictures.py`: PIL's; mode and `info` stay.
- `labelled.py`: xarray's DataArrays; dimensions say the axes, coordinates and attributes stay.
- `opened.py`: paths and open files, which become arrays, and the package's own `Image`.

A kind is told by the package that its class is from, so that no package is imported to tell that it
isn't there. Another one is a file with `denoised(image, work)` and a line in `kind.KINDS`.
"""

from noise2noise.kinds.kind import NOTHING, Said, Work, denoised

__all__ = ["NOTHING", "Said", "Work", "denoised"]
