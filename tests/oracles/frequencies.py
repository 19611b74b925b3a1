"""Images from a few frequencies by scipy's DCT, class by class and image by image; and which frequencies vary most."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn, idctn


def decode(coefficients: np.ndarray, places: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the (n, c, h, w) images of coefficients (n, c, m) at the places (C, m) of their classes."""
    channels, height, width = shape
    each = len(coefficients) // len(places)
    images = np.zeros((len(coefficients), *shape))
    for number, of_image in enumerate(coefficients):
        for channel in range(channels):
            full = np.zeros(height * width)
            full[places[number // each]] = of_image[channel]
            images[number, channel] = idctn(full.reshape(height, width), norm="ortho")
    return images


def gradient(along: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the (n, c, m) gradient of Σ along·images with respect to the coefficients."""
    each = len(along) // len(places)
    full = dctn(along, axes=(2, 3), norm="ortho").reshape(*along.shape[:2], -1)
    return np.stack([full[number][:, places[number // each]] for number in range(len(along))])


def strongest(images: np.ndarray, count: int, chosen_by: str = "variance") -> list[int]:
    """Return the places (ascending) whose coefficients vary most, or are largest, over (n, c, h, w) images; summed over channels."""
    full = dctn(images.astype(np.float64), axes=(2, 3), norm="ortho").reshape(len(images), images.shape[1], -1)
    found = (full.var(axis=0) if chosen_by == "variance" else (full**2).mean(axis=0)).sum(axis=0)
    return sorted(np.argsort(-found, kind="stable")[:count].tolist())
