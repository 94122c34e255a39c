"""Other people's libraries, imported so that they work beside a PyTorch for CPUs."""

import importlib
from typing import Any

_kept: list[Any] = []


def library(name: str) -> Any:
    """A module of another's library.

    Raises:
      ModuleNotFoundError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # A torchvision for GPUs beside a PyTorch for CPUs lacks its compiled half: these are the operators of it that it
    # asks for. They are declared for as long as the library lives.
    _kept.append(importlib.import_module("torch").library.Library("torchvision", "DEF"))
    for operator in ("nms", "qnms"):
        _kept[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)
