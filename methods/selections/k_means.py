"""k-means: the images nearest to the centres of as many clusters as are wanted (the ``kmeans-emb`` of DC-BENCH, Cui et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import SELECTIONS, on_features

from ._per_class import per_class

_STARTS = 10  # of which the one with the smallest sum of squared distances is taken


@SELECTIONS.register("k_means")
@on_features
def k_means(features: Tensor, labels: Tensor, slots: Tensor, generator: torch.Generator) -> Tensor:
    """Cluster the features of every class, and take one image for each cluster."""
    return per_class(labels, slots, lambda members, wanted: nearest_to_centres(features[members], wanted, generator))


def nearest_to_centres(features: Tensor, wanted: int, generator: torch.Generator) -> Tensor:
    """Return the positions (wanted,) of (k, d) features, each the nearest to a cluster's centre, the largest cluster first.

    Where one image is nearest to several centres, the smaller cluster gets the next nearest one.
    """
    from sklearn.cluster import KMeans  # here, because it takes longer to import than the rest of a small cell

    seen = features.double()
    start = int(torch.randint(2**31 - 1, (1,), generator=generator))
    found = KMeans(wanted, n_init=_STARTS, random_state=start).fit(seen.numpy())
    sizes = torch.bincount(torch.from_numpy(found.labels_).long(), minlength=wanted)
    distance = torch.cdist(torch.from_numpy(found.cluster_centers_), seen)
    chosen: list[int] = []
    for cluster in sizes.argsort(descending=True, stable=True).tolist():
        distance[:, chosen] = torch.inf
        chosen.append(int(distance[cluster].argmin()))
    return torch.tensor(chosen)
