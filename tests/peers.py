"""Other people's implementations, which tests compare with: `pip install 'jaxgan[peers]'`, or they are skipped."""

import warnings
from typing import Any

import pytest

_kept: list[Any] = []


def load(name: str) -> Any:
    """The module, or a skipped test. What it warns of at import is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _import(name)
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
        # A torchvision for GPUs beside a PyTorch for CPUs lacks its compiled half: these are the operators of it that
        # it asks for. They are declared for as long as the library lives.
        _kept.append(_import("torch").library.Library("torchvision", "DEF"))
        for operator in ("nms", "qnms"):
            _kept[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return _import(name)


def _import(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name}: jaxgan[peers] is not installed")
