"""Scores: pure functions of arrays, in float64 on the host, the same for any batch size and any device.

Features come from a network; `jaxgan evaluate` says which, with every score.
"""

from jaxgan.scoring.metrics.frechet import Moments, frechet_distance, frechet_error, frechet_infinity, moments
from jaxgan.scoring.metrics.inception import inception_score
from jaxgan.scoring.metrics.kernel import Estimate, kernel_distance
from jaxgan.scoring.metrics.modes import GRID, RING, Modes, class_modes, gaussian_modes
from jaxgan.scoring.metrics.neighbours import Manifold, Memorisation, manifold, memorisation, nearest
from jaxgan.scoring.metrics.similarity import absolute, diversity, ms_ssim, psnr, ssim

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
    "frechet_distance",
    "frechet_error",
    "frechet_infinity",
    "gaussian_modes",
    "inception_score",
    "kernel_distance",
    "manifold",
    "memorisation",
    "moments",
    "ms_ssim",
    "nearest",
    "psnr",
    "ssim",
]
