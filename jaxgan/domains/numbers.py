"""Numbers: points, rows, signals and whatever else is floating-point numbers of one shape, as they are.

For example:

    >>> Numbers().encode(np.float64([[0.25, -3.0]]))
    array([[ 0.25, -3.  ]], dtype=float32)
    >>> Numbers().write(Shown(np.random.default_rng(0).normal(size=(200, 2))), Path("points.png"))
    >>> Path("points.png").read_bytes()[1:4]
    b'PNG'
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from jaxgan import plots
from jaxgan.data.sources import Field
from jaxgan.domains.base import Domain, Shown, domain
from jaxgan.errors import InputError


@domain("numbers")
class Numbers(Domain):
    """Floating-point numbers of any shape, stored as float32; networks see them as they are stored."""

    sheets: ClassVar[tuple[str, ...]] = (".png",)

    def encode(self, made: np.ndarray) -> np.ndarray:
        """The same numbers as float32."""
        return np.asarray(made, np.float32)

    def check(self, field: Field) -> None:
        """Refuses what is no floating-point number."""
        if field.dtype != "float32":
            raise InputError(
                f'examples are {field.dtype} {list(field.shape)}, and the domain "numbers" takes float32; convert them'
            )

    def write(self, shown: Shown, out: Path) -> None:
        """Draws a histogram of single numbers, a scatter plot of pairs, and lines of longer examples, as PNG."""
        plots.numbers(shown.made, out, classes=shown.classes, real=shown.real)
