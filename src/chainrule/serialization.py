"""Files: writing without ever losing what was there, and weights as safetensors with metadata."""

import contextlib
import glob
import io
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from chainrule.module import Module

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LONGEST_HEADER = 2**24
"""Bytes of a safetensors header that are read: names, shapes and metadata, for any real network a
few thousand, and with the history of a long run some hundreds of thousands."""

_RANDOM_MARKS = 8  # that tempfile puts into a name


@contextlib.contextmanager
def replacing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all.

    Yields the path of a temporary file in the same folder, with the same suffix. When the block
    ends well that file is flushed to the disk and renamed to `path`; when it raises, the temporary
    file is removed and whatever stood at `path` is untouched. What a process that was killed left
    of an earlier attempt is removed first.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false; raised before the block runs.
        NotADirectoryError: the folder of `path` does not exist.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another name or allow overwriting")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"the folder {path.parent} does not exist; create it first")
    _remove_leftovers(path)
    temporary, handle = _temporary(path)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def write_torch(path: Path, content: object) -> None:
    """`torch.save` by way of memory: PyTorch itself has no error for a disk that refuses.

    Raises:
        OSError: the disk refused.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getbuffer())


def _temporary(path: Path) -> tuple[Path, int | None]:
    """A file beside `path`, and the handle by which it is locked while this process lives; on
    Windows none, where a file that is open can't be renamed."""
    while True:
        handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", dir=path.parent)
        if fcntl is None:
            os.close(handle)
            return Path(name), None
        fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_at(handle, name):
            return Path(name), handle
        os.close(handle)  # another process took it for a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` that no living process has locked."""
    if fcntl is None:
        return
    pattern = f".{glob.escape(path.stem)}-{'?' * _RANDOM_MARKS}{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(pattern):
        with contextlib.suppress(OSError), open(leftover, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _is_at(handle: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(name))
    except FileNotFoundError:
        return False


def _flush_to_disk(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows flushes what is open for writing only
        os.fsync(file.fileno())


_ASKING = threading.Lock()


def _umask() -> int:
    # It can't be asked for without being set: of two threads that do so at once, one would read,
    # and set for good, what the other put there.
    with _ASKING:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write named tensors and text metadata to one safetensors file, whole or not at all.

    Tensors may share memory (a layer used at two places); each name gets its own copy in the file.

    Raises:
        FileExistsError, NotADirectoryError: as `replacing`.
        OSError: the disk refused; an older file at `path` is still there.
    """
    data = tensor_bytes(tensors, metadata)
    with replacing(path, overwrite) as temporary:
        temporary.write_bytes(data)


def tensor_bytes(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> bytes:
    """What `save_tensors` writes."""
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(copies, dict(metadata or {}))


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors by name, on the CPU, and its metadata.

    The format holds numbers and text only: opening a file from a stranger never runs its code, and
    takes no more memory than the file is long.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not safetensors, was cut short, or has an absurdly long header.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in _names(file)}, dict(file.metadata() or {})


def load_shapes(path: str | Path) -> tuple[dict[str, torch.Size], dict[str, str]]:
    """As `load_tensors`, with the shape of each tensor in its place: only the header is read."""
    with _opened(path) as file:
        shapes = {name: torch.Size(file.get_slice(name).get_shape()) for name in _names(file)}
        return shapes, dict(file.metadata() or {})


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[safetensors.safe_open]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    _check_header(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({one_line(str(error))}); "
            "it may have been cut short: copy or train it again"
        ) from error


def _check_header(path: Path) -> None:
    # Eight bytes, little endian, say how long the JSON is that follows.
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if LONGEST_HEADER < length < path.stat().st_size:
        raise ValueError(
            f"{path} has a header of {length} bytes, and at most {LONGEST_HEADER} are read; "
            "it is damaged, or no file of weights"
        )


def _names(file: safetensors.safe_open) -> list[str]:
    return list(file.keys())


def one_line(text: str, longest: int = 200) -> str:
    """Text out of a file, or about one, fit to be shown: cut, and without control characters."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * longest])
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def save(
    path: str | Path,
    module: Module,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a module's `state_dict` to a safetensors file; see `save_tensors`."""
    save_tensors(path, module.state_dict(), metadata, overwrite)


def load(path: str | Path, module: Module) -> dict[str, str]:
    """Read a module's `state_dict` from a safetensors file into it; returns the metadata.

    Raises:
        FileNotFoundError, ValueError: as `load_tensors`.
        StateDictError: names or shapes don't fit; the module is unchanged.
    """
    state, metadata = load_tensors(path)
    module.load_state_dict(state)
    return metadata
