"""How near images are to others: signal to noise, absolute difference, structural similarity; and diversity by it.

Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004; Wang et al., Multiscale
Structural Similarity for Image Quality Assessment, 2003; as a measure of diversity, Odena et al., Conditional Image
Synthesis with Auxiliary Classifier GANs, 2017, section 4.3.

For example:

    >>> black, white = np.zeros((1, 16, 16, 1), np.uint8), np.full((1, 16, 16, 1), 255, np.uint8)
    >>> absolute(white, black).item(), psnr(white, black, data_range=255).item()
    (255.0, 0.0)
    >>> round(ssim(white, white, data_range=255).item(), 6), ssim(white, black, data_range=255).item() < 0.01
    (1.0, True)
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d

from jaxgan.scoring.formulas.features import shuffled
from jaxgan.scoring.formulas.kernel import Estimate

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The weights of the scales, from the finest."""
WINDOW, DEVIATION = 11, 1.5
"""Pixels of the Gaussian window."""
BYTES = 2**24
"""Memory of a block of images in float64; comparing takes ten times as much."""


def _images(images: ArrayLike, name: str) -> np.ndarray:
    found = np.asarray(images)
    if found.ndim != 4 or found.dtype.kind not in "fiu" or not found.size:
        raise ValueError(f"{name} must be images [N, H, W, C], got {found.dtype} {list(found.shape)}")
    return found.astype(np.float64)


def scales(height: int, width: int) -> int:
    """How many scales images of this size have: halves that still hold a window, at most five.

    Raises:
      ValueError: If not even one fits.
    """
    fit = int(np.log2(max(1, min(height, width)) / WINDOW) + 1) if min(height, width) >= WINDOW else 0
    if not fit:
        raise ValueError(f"images are {height}x{width}; similarity needs at least {WINDOW}x{WINDOW} pixels")
    return min(fit, len(WEIGHTS))


def _pairs(a: ArrayLike, b: ArrayLike, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    x, y = _images(a, "a"), _images(b, "b")
    if x.shape != y.shape:
        raise ValueError(f"the images are of shapes {list(x.shape)} and {list(y.shape)}")
    if not data_range > 0:
        raise ValueError(f"data_range is {data_range}; it must be above 0")
    return x, y


def _similarities(x: np.ndarray, y: np.ndarray, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """How alike luminance, and contrast and structure are, for each window that lies within the images."""
    offsets, edge = np.arange(WINDOW) - WINDOW // 2, WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * DEVIATION**2))
    window /= window.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def blurred(z: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            z = correlate1d(z, window, axis)
        return z[:, edge:-edge, edge:-edge]

    mx, my = blurred(x), blurred(y)
    vx, vy, vxy = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    return luminance, (2 * vxy + c2) / (vx + vy + c2)


def ssim(a: ArrayLike, b: ArrayLike, *, data_range: float) -> np.ndarray:
    """Structural similarity of each image of a with that of b, at their own scale, the mean over channels.

    Args:
      a: Images `[N, H, W, C]`.
      b: Likewise.
      data_range: Difference of the largest and the smallest value that a pixel can have.

    Returns:
      `[N]`, at most 1, which is for equal images.

    Raises:
      ValueError: As `ms_ssim`.

    References:
      Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, equation 13, with
      the authors' Gaussian window of 11 by 11 pixels.
    """
    x, y = _pairs(a, b, data_range)
    scales(*x.shape[1:3])
    luminance, similar = _similarities(x, y, data_range)
    return (luminance * similar).mean((1, 2, 3))


def psnr(a: ArrayLike, b: ArrayLike, *, data_range: float) -> np.ndarray:
    """Peak signal-to-noise ratio of each image of a as an answer for that of b, in decibels, over all of its values.

    Args:
      a: Images `[N, H, W, C]`.
      b: Likewise.
      data_range: Difference of the largest and the smallest value that a pixel can have.

    Returns:
      `[N]`, infinite for equal images.

    Raises:
      ValueError: If the images are not alike in shape, or the range is not above 0.
    """
    x, y = _pairs(a, b, data_range)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / np.square(x - y).mean((1, 2, 3)))


def absolute(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """The mean absolute difference of each image of a to that of b, `[N]`, in the unit of the pixels.

    Raises:
      ValueError: If the images are not alike in shape.
    """
    x, y = _pairs(a, b, 1)
    return np.abs(x - y).mean((1, 2, 3))


def ms_ssim(a: ArrayLike, b: ArrayLike, *, data_range: float) -> np.ndarray:
    """Multiscale structural similarity of each image of a with that of b.

    With fewer than the paper's five scales, where images are smaller than 176 pixels, the weights of those that fit are
    scaled to sum to 1.

    Args:
      a: Images `[N, H, W, C]`.
      b: Likewise.
      data_range: Difference of the largest and the smallest value that a pixel can have.

    Returns:
      `[N]`, 1 for equal images.

    Raises:
      ValueError: If the images are not alike in shape, too small, or the range is not above 0.
    """
    x, y = _pairs(a, b, data_range)
    number = scales(*x.shape[1:3])
    weights = np.asarray(WEIGHTS[:number]) / sum(WEIGHTS[:number])

    def halved(z: np.ndarray) -> np.ndarray:
        z = z[:, : z.shape[1] // 2 * 2, : z.shape[2] // 2 * 2]
        return (z[:, ::2, ::2] + z[:, 1::2, ::2] + z[:, ::2, 1::2] + z[:, 1::2, 1::2]) / 4

    value = np.ones(len(x))
    for scale, weight in enumerate(weights):
        luminance, similar = _similarities(x, y, data_range)
        if scale == number - 1:
            similar *= luminance
        value *= np.maximum(similar.mean((1, 2, 3)), 0) ** weight
        x, y = halved(x), halved(y)
    return value


def diversity(images: ArrayLike, *, data_range: float, seed: int = 0) -> Estimate:
    """The mean multiscale structural similarity of random pairs of images: the lower, the more diverse.

    Every image is in one pair at most, so that the standard error is over the choice of images.

    Args:
      images: `[N, H, W, C]`, N / 2 pairs.
      data_range: See `ms_ssim`.
      seed: Of the pairs.

    Raises:
      ValueError: If there are fewer than two images, or as `ms_ssim`.
    """
    x = np.asarray(images)
    if len(x) < 2:
        raise ValueError(f"diversity needs at least 2 images, got {len(x)}")
    chosen, pairs = shuffled(len(x), seed), len(x) // 2
    first, second = chosen[:pairs], chosen[pairs : 2 * pairs]
    step = max(1, BYTES // (8 * max(1, x[0].size)))
    blocks = (slice(i, i + step) for i in range(0, pairs, step))
    return Estimate.of(
        np.concatenate([ms_ssim(x[first[rows]], x[second[rows]], data_range=data_range) for rows in blocks])
    )
