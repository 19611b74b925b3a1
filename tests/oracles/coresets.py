"""Coresets by looking at every candidate: slow, and written from the definitions alone."""

from __future__ import annotations

import numpy as np


def herding(features: np.ndarray, wanted: int) -> list[int]:
    """The next one is whichever makes the mean of all chosen features nearest to the mean of the (k, d) features."""
    mean, chosen = features.mean(0), []
    for _ in range(wanted):
        rest = [i for i in range(len(features)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: np.linalg.norm(features[[*chosen, i]].mean(0) - mean)))
    return chosen


def k_center(features: np.ndarray, wanted: int) -> list[int]:
    """The first is the nearest to the mean; the next one is whichever has the largest distance to its nearest chosen one."""
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    chosen = [int(np.linalg.norm(features - features.mean(0), axis=1).argmin())]
    while len(chosen) < wanted:
        rest = [i for i in range(len(features)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(distance[i, j] for j in chosen)))
    return chosen


def k_means(features: np.ndarray, wanted: int) -> list[set[int]]:
    """Cut a few (k, d) features into the tightest clusters there are, and return the points nearest to each centre (equally near ones)."""
    best, clusters = np.inf, []
    for assignment in np.ndindex(*[wanted] * len(features)):
        groups = [features[np.array(assignment) == g] for g in range(wanted)]
        if all(len(group) for group in groups):
            cost = sum(((group - group.mean(0)) ** 2).sum() for group in groups)
            if cost < best - 1e-12:
                best, clusters = cost, groups
    distances = [np.linalg.norm(features - group.mean(0), axis=1) for group in clusters]
    return [set(np.flatnonzero(distance < distance.min() + 1e-9).tolist()) for distance in distances]
