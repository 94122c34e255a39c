"""Other people's implementations, which tests compare with: `pip install 'jaxgan[peers]'`, or they are skipped."""

import warnings
from typing import Any

import pytest
from peer_libraries import library


def load(name: str) -> Any:
    """The module, or a skipped test. What it warns of at import is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return library(name)
        except ModuleNotFoundError:
            pytest.skip(f"{name}: jaxgan[peers] is not installed")
