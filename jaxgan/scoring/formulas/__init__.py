"""Scores: pure functions of arrays, in float64 on the host, the same for any batch size and any device.

Features come from a network; `jaxgan evaluate` says which, with every score.
"""

from jaxgan.scoring.formulas.errors import standard_error
from jaxgan.scoring.formulas.frechet import (
    Moments,
    frechet_bias,
    frechet_distance,
    frechet_error,
    frechet_infinity,
    moments,
)
from jaxgan.scoring.formulas.inception import inception_bias, inception_score
from jaxgan.scoring.formulas.kernel import Estimate, kernel_distance
from jaxgan.scoring.formulas.modes import GRID, RING, Modes, class_modes, gaussian_modes
from jaxgan.scoring.formulas.neighbours import Manifold, Memorisation, manifold, memorisation, nearest
from jaxgan.scoring.formulas.similarity import absolute, diversity, ms_ssim, psnr, ssim

__all__ = [
    "GRID",
    "RING",
    "Estimate",
    "Manifold",
    "Memorisation",
    "Modes",
    "Moments",
    "absolute",
    "class_modes",
    "diversity",
    "frechet_bias",
    "frechet_distance",
    "frechet_error",
    "frechet_infinity",
    "gaussian_modes",
    "inception_bias",
    "inception_score",
    "kernel_distance",
    "manifold",
    "memorisation",
    "moments",
    "ms_ssim",
    "nearest",
    "psnr",
    "ssim",
    "standard_error",
]
