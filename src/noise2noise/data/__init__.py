"""Pairs of noisy images to learn from, wherever they come from, and their mini-batches.

A source keeps its images in memory as they were stored (8 bits stay 8 bits) and hands out crops:
float32 `(C, crop, crop)`, scaled so that black is 0 and white is 1; noise may leave that range.

- `TensorPairs`: two tensors of recorded pairs, such as the course's file (`load_pair_file`).
- `FolderPairs`: two folders of recorded pairs, matched by name.
- `StackFrames`: a film, whose neighbouring frames are pairs.
- `Bursts`: a folder of shots for each scene, of which every two are a pair.
- `CorruptedPhotographs`: clean photographs, with noise drawn anew for every crop.
- `GeneratedImages`: the same with pictures made on the spot, so that nothing has to be downloaded.

`source.telling(...)` makes any of them one for a network that is told the noise.

`split` holds some images back for validation, `batches` turns the others into one epoch. Every
random choice follows from the numbers given, whatever the number of workers.
"""

from noise2noise.data.corrupted import CorruptedPhotographs, GeneratedImages
from noise2noise.data.folders import FolderPairs, matched
from noise2noise.data.minibatches import batches, steps_per_epoch
from noise2noise.data.pair_file import load_pair_file, save_pair_file
from noise2noise.data.recorded import TensorPairs
from noise2noise.data.sequences import Bursts, StackFrames
from noise2noise.data.shots import USUAL_CROP, read_shots
from noise2noise.data.source import PairSource, Track
from noise2noise.data.telling import Telling
from noise2noise.data.validation import ValidationSet, split, validation_set

__all__ = [
    "USUAL_CROP",
    "Bursts",
    "CorruptedPhotographs",
    "FolderPairs",
    "GeneratedImages",
    "PairSource",
    "StackFrames",
    "Telling",
    "TensorPairs",
    "Track",
    "ValidationSet",
    "batches",
    "load_pair_file",
    "matched",
    "read_shots",
    "save_pair_file",
    "split",
    "steps_per_epoch",
    "validation_set",
]
