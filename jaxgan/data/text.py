"""Captions as arrays of one length, so that they batch like images do.

For example:

    >>> encode("boot", 6).tolist()
    [98, 111, 111, 116, 0, 0]
    >>> decode(encode("a dark boot", 6))
    'a dark'
"""

import numpy as np


def encode(caption: str, length: int) -> np.ndarray:
    """The UTF-8 bytes of a caption, int32 [length], zeros behind them.

    A longer caption is cut, between two characters.
    """
    stored = caption.encode()[:length].decode(errors="ignore").encode()
    out = np.zeros(length, np.int32)
    out[: len(stored)] = np.frombuffer(stored, np.uint8)
    return out


def decode(text: np.ndarray) -> str:
    """The caption that `encode` made int32 [length] of, where it fitted."""
    return bytes(text[: np.count_nonzero(text)].astype(np.uint8)).decode()
