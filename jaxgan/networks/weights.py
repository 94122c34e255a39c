"""Published weights from a file to NumPy arrays, without PyTorch and without running anything that the file asks for.

What `torch.save` writes is a pickle, and a pickle is a program. Here it may build dictionaries and describe tensors,
and nothing else; the tensors' bytes lie beside it. The zip format is that of PyTorch since 1.6; the other one, pickles
and raw bytes in one stream, is older and still written on request (`torch/serialization.py`).

For example:

    >>> np.savez("layer.npz", kernel=np.zeros((2, 3)))
    >>> read("layer.npz")["kernel"].shape
    (2, 3)
    >>> _ = Path("model.pth").write_bytes(pickle.dumps(print))  # a pickle that asks for a function
    >>> read("model.pth")
    Traceback (most recent call last):
    jaxgan.errors.InputError: model.pth would run builtins.print and was not read; give the tensors ...
"""

import hashlib
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from jaxgan.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of PyTorch's older format holds."""
VERSION = 1001
"""What the second one holds."""
MOST_BYTES = 4 * 2**30
"""Most bytes that an archive may unpack to."""
NAMED = 3
"""How many wrong arrays an error names."""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a weights file by name, shapes and dtypes as in the file.

    Args:
      path: A `.safetensors` file, an `.npz` file, or a `.pth` or `.pt` file of a `state_dict` by `torch.save`.

    Raises:
      InputError: naming the file, where it is missing, damaged or of another format, holds something that is not an
        array, or is a pickle that would run code.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is no weights file by its name; give one that ends in {', '.join(READERS)}")
    try:
        return reader(path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} holds more than fits into memory; give the weights of a network") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is damaged, or no {path.suffix} file: {reason}; replace it by a fresh copy"
        ) from error


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits.

    Raises:
      InputError: naming the file, where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def fit(
    table: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    path: str | os.PathLike[str],
    source: str,
) -> None:
    """Checks that a weights file holds the arrays of a network, no more and no fewer.

    Args:
      table: What `read` found.
      expected: Names and shapes of the network's arrays.
      path: The file that was read.
      source: The file that holds the right weights, as its publisher calls it.

    Raises:
      InputError: naming the file, its SHA-256 and the first wrong arrays with the shapes found and expected.
    """
    wrong = [
        f"{name} is {table[name].shape}, not {shape}" if name in table else f"{name} {shape} is missing"
        for name, shape in expected.items()
        if name not in table or table[name].shape != shape
    ]
    wrong += [f"{name} {table[name].shape} is unknown" for name in table if name not in expected]
    if wrong:
        more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise InputError(
            f"{path} (SHA-256 {sha256(path)}) holds other weights: {', '.join(wrong[:NAMED])}{more}; "
            f"give those of {source}"
        )


def _unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    reason = (
        "no such file"
        if isinstance(error, FileNotFoundError)
        else f"cannot be read: {error.strerror or error}"
    )
    return InputError(f"{path}: {reason}; give the path of a weights file")


class _Storage(NamedTuple):
    """Numbers one after another in the file."""

    key: str
    dtype: str
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    """A view of a storage, in numbers and not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """What stands for `torch._utils._rebuild_tensor_v2`: gradients, hooks and metadata are left out."""
    return _Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    """What stands for `torch._utils._rebuild_parameter`."""
    return tensor


# Storages are little-endian in the file. What a pickle can reach here it can also call, with any arguments, and change:
# so types of storages are strings, and tensors are tuples, made into arrays when the pickle is through.
STORAGES = {
    ("torch", "DoubleStorage"): "<f8",
    ("torch", "FloatStorage"): "<f4",
    ("torch", "HalfStorage"): "<f2",
    ("torch", "LongStorage"): "<i8",
    ("torch", "IntStorage"): "<i4",
    ("torch", "ShortStorage"): "<i2",
    ("torch", "CharStorage"): "|i1",
    ("torch", "ByteStorage"): "|u1",
    ("torch", "BoolStorage"): "|b1",
}
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **STORAGES,
}


class _Unpickler(pickle.Unpickler):
    """Builds containers and descriptions of tensors; refuses every other name."""

    def __init__(self, file: BinaryIO | BytesIO, path: Path) -> None:
        super().__init__(file)
        self.path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Every class and function that a pickle names comes through here.

        Raises:
          InputError: naming what is not allowed.
        """
        if (module, name) not in ALLOWED:
            raise InputError(
                f"{self.path} would run {module}.{name} and was not read; "
                "give the tensors of a state_dict alone, or a .safetensors file"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, which the pickle only refers to: kind, type, key, device, size, and once a view, long unused."""
        match pid:
            case ("storage", str(dtype), str(key), _, int(size), *view) if view in ([], [None]):
                return self.storages.setdefault(key, _Storage(key, dtype, size))
        raise pickle.UnpicklingError("it refers to something that is no storage")


def _arrays(tree: Any, data: Mapping[str, bytes], path: Path) -> dict[str, np.ndarray]:
    """The tensors of an unpickled state_dict, with the bytes of each storage.

    Raises:
      InputError: naming what is not a tensor.
    """
    if not isinstance(tree, dict):
        raise InputError(f"{path} holds a {type(tree).__name__}; save a state_dict, tensors by name")
    for name, value in tree.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise InputError(
                f"{path} holds a {type(value).__name__} under {name!r}; save a state_dict, tensors by name"
            )
    return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tree.items()}


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    storage, offset, shape, strides = tensor
    if len(data) != storage.nbytes:
        raise ValueError(f"{len(data)} bytes are there of {storage.nbytes}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    # as_strided would read whatever lies there.
    if min([offset, *shape, *strides]) < 0 or count > storage.size or (count and last >= storage.size):
        raise ValueError("a tensor reaches beyond its storage")
    numbers = np.frombuffer(data, storage.dtype)
    bytes_apart = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, bytes_apart).copy()


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
        file.seek(0)
        return _read_zip(file, path) if zipped else _read_stream(file, path)


def _read_zip(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    """One folder: `data.pkl`, and a file in `data/` for each storage."""
    with zipfile.ZipFile(file) as archive:
        _check_total(archive)
        names = archive.namelist()
        folders = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(folders) != 1:
            raise ValueError("not by torch.save")
        (folder,) = folders
        order = f"{folder}/byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("written by a big-endian machine")
        unpickler = _Unpickler(BytesIO(archive.read(f"{folder}/data.pkl")), path)
        tree = unpickler.load()
        data = {key: archive.read(f"{folder}/data/{key}") for key in unpickler.storages}
    return _arrays(tree, data, path)


def _read_stream(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    """Pickles of a magic number, a version, facts of the machine, the tree and its storages' keys; the storages."""
    if _Unpickler(file, path).load() != MAGIC or _Unpickler(file, path).load() != VERSION:
        raise ValueError("not by torch.save")
    _Unpickler(file, path).load()
    unpickler = _Unpickler(file, path)
    tree = unpickler.load()
    data = {}
    for key in _Unpickler(file, path).load():
        if int.from_bytes(file.read(8), "little") != unpickler.storages[key].size:
            raise ValueError("a storage is not of the size announced")
        data[key] = file.read(unpickler.storages[key].nbytes)
    return _arrays(tree, data, path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    # Opened here, as NumPy leaves a file open that it cannot read.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        for each in arrays.zip.infolist():
            with arrays.zip.open(each) as stored:
                _check_size(stored, each.file_size)
        _check_total(arrays.zip)
        return {name: arrays[name] for name in arrays.files}


def _check_size(stored: IO[bytes], size: int) -> None:
    """Refuses an array whose header tells of other bytes than there are, before NumPy asks for memory for them."""
    version = np.lib.format.read_magic(stored)  # pyright: ignore[reportArgumentType]
    first, later = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    shape, _, dtype = (first if version == (1, 0) else later)(stored)  # pyright: ignore[reportArgumentType]
    if not dtype.hasobject and stored.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of the shape {list(shape)} has other bytes than it says")


def _check_total(archive: zipfile.ZipFile) -> None:
    """Refuses an archive that would fill the memory, which a few bytes can."""
    total = sum(each.file_size for each in archive.infolist())
    if total > MOST_BYTES:
        raise ValueError(
            f"it unpacks to {total / 2**30:.0f} GiB, and weights have at most {MOST_BYTES >> 30}"
        )


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": load_file,
    ".npz": _read_npz,
    ".pth": _read_torch,
    ".pt": _read_torch,
}
