"""Captions as arrays of one length, so that they batch like images do; and what that loses of them.

For example:

    >>> encode("boot", 6).tolist()
    [98, 111, 111, 116, 0, 0]
    >>> decode(encode("a dark boot", 6))
    'a dark'
    >>> (line,) = remarks(["a dark boot", "a dark coat", "a hat"], 6)
    >>> line
    '2 of 3 captions are cut to 6 bytes, and 1 more is equal to another by that; --data.text_length 11 keeps them whole'
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

LENGTH = 64
"""Bytes of a caption where nothing else is said; longer ones are cut."""
STORED = "captions.json"
"""The file beside a prepared data set that says how long its captions are, see `described`."""
LENGTHS = (16, 32, 64, 128, 256)
"""Lengths for which `described` says how many captions become equal."""


def encode(caption: str, length: int) -> np.ndarray:
    """The UTF-8 bytes of a caption, int32 [length], zeros behind them.

    A longer caption is cut, between two characters.
    """
    stored = _cut(caption, length).encode()
    out = np.zeros(length, np.int32)
    out[: len(stored)] = np.frombuffer(stored, np.uint8)
    return out


def decode(text: np.ndarray) -> str:
    """The caption that `encode` made int32 [length] of, where it fitted."""
    return bytes(text[: np.count_nonzero(text)].astype(np.uint8)).decode()


def remarks(captions: Iterable[str], length: int) -> tuple[str, ...]:
    """What `encode` loses of captions, as a line for the user; nothing where it loses nothing.

    Args:
      captions: All of a data set.
      length: Bytes that are kept of each.
    """
    known = described(captions, (length,))
    return remarks_of(known, length)


def described(captions: Iterable[str], lengths: Iterable[int] = LENGTHS) -> dict[str, Any]:
    """How long captions are, as plain data that can be stored beside them.

    Returns:
      "bytes", how many captions have each number of bytes, and "merged", for each of some lengths how many different
      captions are equal to another one once they are cut to it; the numbers of bytes are strings, as JSON has them.
    """
    sizes: dict[int, int] = {}
    different: set[str] = set()
    for caption in captions:
        size = len(caption.encode())
        sizes[size] = sizes.get(size, 0) + 1
        different.add(caption)
    merged = {str(n): len(different) - len({_cut(each, n) for each in different}) for n in lengths}
    return {"bytes": {str(size): sizes[size] for size in sorted(sizes)}, "merged": merged}


def remarks_of(known: Mapping[str, Any], length: int) -> tuple[str, ...]:
    """The line of `remarks` from what `described` says, which need not know of this length."""
    sizes = {int(size): int(count) for size, count in known["bytes"].items()}
    cut = sum(count for size, count in sizes.items() if size > length)
    if not cut:
        return ()
    merged = known["merged"].get(str(length))
    equal = {
        None: "some may be equal to others by that",
        0: "all that differ still do",
        1: "1 more is equal to another by that",
    }.get(merged, f"{merged} more are equal to others by that")
    some = f"{cut:,} of {sum(sizes.values()):,} captions {'is' if cut == 1 else 'are'} cut to {length} bytes"
    return (f"{some}, and {equal}; --data.text_length {max(sizes)} keeps them whole",)


def _cut(caption: str, length: int) -> str:
    return caption.encode()[:length].decode(errors="ignore")
