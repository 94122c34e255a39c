"""Makes data.npy.xz, the part of Fashion-MNIST that is shipped with jaxgan, from the four original idx files.

    python jaxgan/data/fashion_mnist/make.py FOLDER_WITH_THE_FOUR_IDX_GZ_FILES [OUT]

The output holds four .npy arrays one after another, in one xz stream: train images uint8 [10000, 28, 28], train labels
uint8 [10000], test images uint8 [2000, 28, 28], test labels uint8 [2000]; the first 1,000 (200) of each class, in the
order of the originals. The same input and liblzma give the same bytes. Plain xz won over PNG-like prediction, bzip2,
deflate and lossless WebP (4.5 MB against 4.6 to 5.2): the many exact zeros repeat better than their differences.
"""

import gzip
import io
import lzma
import sys
from pathlib import Path

import numpy as np


def read_idx(path: Path) -> np.ndarray:
    """An idx.gz file of bytes as an array uint8 of the shape its header names."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the first `count` examples of each of the ten classes."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))


def main() -> None:
    """Reads the folder named on the command line, writes the output."""
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "data.npy.xz"
    buffer = io.BytesIO()
    for prefix, count in (("train", 1000), ("t10k", 200)):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        chosen = first_of_each_class(labels, count)
        np.save(buffer, images[chosen])
        np.save(buffer, labels[chosen])
    # pb=0, lc=4: the data are single bytes without any four-byte alignment.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    out.write_bytes(lzma.compress(buffer.getvalue(), check=lzma.CHECK_SHA256, filters=filters))
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
