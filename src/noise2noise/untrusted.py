"""The one door for files that `torch.save` wrote, which are pickles, and could run code.

Four locks, each on its own: a PyTorch that keeps its promise of `weights_only=True`; no file that
unpacks to more than it is long; no name in the pickle but those that plain tensors need; and no
tensor that claims more elements than it has memory for.
"""

import io
import pickletools
import zipfile
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, cast

import torch

from noise2noise.errors import UserError

LARGEST_FILE = 2**33
"""Bytes; 50,000 pairs of 64 x 64 pixels in colour are 5 GB as float32."""

_MOST_OPCODES = 1_000_000  # of a pickle; a model of a thousand weights has some 30,000

_LEGACY_PICKLES = 5  # magic number, version, machine, the content, names of what lies behind

_PLAIN = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch BoolStorage",
    "torch ByteStorage",
    "torch CharStorage",
    "torch ShortStorage",
    "torch IntStorage",
    "torch LongStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch FloatStorage",
    "torch DoubleStorage",
}
"""What the pickle of plain tensors in tuples, lists and dicts names."""


class _RefusedError(Exception):
    """Why a file isn't read on."""


def load_torch(path: str | Path, remedy: str) -> object:
    """What `torch.save` wrote: tensors on the CPU, texts, numbers, and containers of them.

    Args:
        path: of the file, in the format of today or the one before PyTorch 1.6.
        remedy: how to make such a file, for the sentence that refuses another.

    Raises:
        UserError: there is no such file, it is damaged, too large, holds anything else, or PyTorch
            is older than 2.6.
    """
    path = Path(path)
    _require_safe_unpickling()
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the name")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserError(f"{path} has {size} bytes, and at most {LARGEST_FILE} are read; split it")
    try:
        _check_pickles(path)
        content: object = torch.load(path, map_location="cpu", weights_only=True)
        for tensor in _tensors(content):
            _check_memory(tensor)
    except Exception as error:  # a damaged or hostile file can make the reader fail in any way
        raise UserError(
            f"{path} can't be opened: it is damaged, was not written by torch.save, or holds "
            f"something other than tensors, which is refused because it could run code; {remedy}"
        ) from error
    return content


def _require_safe_unpickling() -> None:
    # Before 2.6 a crafted file could run code in spite of weights_only=True: CVE-2025-32434.
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise UserError(
            f"files that PyTorch wrote are opened with PyTorch 2.6 or newer only, and this is "
            f"{torch.__version__}: before, a crafted file could run code; upgrade torch"
        )


def _check_pickles(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        # A file takes memory for as many bytes as it is asked for, a mapping only for those it has.
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            for _ in range(_LEGACY_PICKLES):
                _check_names(content)
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_stored(entries, path.stat().st_size)
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                _check_names(io.BytesIO(archive.read(entry)))


def _check_stored(entries: list[zipfile.ZipInfo], size: int) -> None:
    # torch.save never compresses; an entry of zeros would unpack to a thousand times its bytes.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _RefusedError("an entry is compressed")
    if sum(entry.file_size for entry in entries) > size:
        raise _RefusedError("the entries are larger than the file")


def _check_names(file: mmap | io.BytesIO) -> None:
    """Read on to the end of a pickle, without making anything that it describes."""
    opcodes = pickletools.genops(cast(IO[bytes], file))
    for count, (opcode, argument, _) in enumerate(opcodes):
        if count > _MOST_OPCODES:
            raise _RefusedError("the pickle is too long")
        if opcode.name in ("INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise _RefusedError(f"torch.save writes no {opcode.name}")
        if opcode.name == "GLOBAL" and argument not in _PLAIN:
            raise _RefusedError(f"it names {argument}")


def _tensors(content: object) -> Iterator[torch.Tensor]:
    """All tensors of nested containers, each once, even if a container holds itself."""
    waiting, seen = [content], set[int]()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item


def _check_memory(tensor: torch.Tensor) -> None:
    # With strides of zero, four bytes can be a tensor of any size.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _RefusedError(f"a tensor of shape {tuple(tensor.shape)} repeats its memory")
