"""Denoising what no machine holds: pieces of an image, shared out among workers by Dask.

- `grid.py`: how an image is cut into pieces, and what is looked at around each.
- `lazy.py`, `again.py`: a Dask array in, a lazy Dask array out.
- `store.py`: an OME-Zarr, piece by piece, written as they come.
- `making.py`: the result while it is being made, and what of it is there when a run goes on.
- `dispatch.py`: pieces handed out to workers, tried again, and reported.
- `worker.py`: what a worker does with one.
- `cluster.py`, `deaf.py`: the workers: those of a scheduler that is named, or processes of this
  machine.

Nothing here is imported by the rest of the program unless somebody asks for it.
"""

from typing import TYPE_CHECKING

from noise2noise.lazily import lazily

if TYPE_CHECKING:
    from noise2noise.scale.cluster import Wish, joined
    from noise2noise.scale.lazy import denoise_dask
    from noise2noise.scale.store import denoise_store

__all__ = ["Wish", "denoise_dask", "denoise_store", "joined"]

__getattr__ = lazily(
    __name__,
    {"cluster": "Wish joined", "lazy": "denoise_dask", "store": "denoise_store"},
)
