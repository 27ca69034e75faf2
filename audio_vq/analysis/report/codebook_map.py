"""Where the codebook vectors lie relative to each other: neighbours, and a map in two dimensions."""

from dataclasses import dataclass

import numpy as np

FEWEST_FOR_TSNE = 12
MOST_FOR_TSNE = 2048  # beyond, it takes minutes


@dataclass(frozen=True, eq=False)
class CodebookMap:
    positions: np.ndarray  # (codebook_size, 2) in [0, 1]
    method: str  # for people


def map_codebook(codebook: np.ndarray, *, seed: int) -> CodebookMap:
    """Codebook vectors `(codebook_size, dim)` in the plane: t-SNE, or PCA where t-SNE makes no sense."""
    centred = codebook - codebook.mean(axis=0)
    plane = _principal_plane(centred)
    if not FEWEST_FOR_TSNE <= len(codebook) <= MOST_FOR_TSNE or np.ptp(plane) == 0:
        return CodebookMap(_unit_square(plane), "first two principal components of the codebook vectors")
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(codebook) - 1) // 3)
    start = 1e-4 * plane / plane[:, 0].std()
    embedding = TSNE(perplexity=perplexity, init=start, random_state=seed % 2**32).fit_transform(centred)
    method = f"t-SNE of the codebook vectors (perplexity {perplexity}, started from their principal components)"
    return CodebookMap(_unit_square(embedding), method)


def nearest_neighbours(codebook: np.ndarray, count: int) -> list[tuple[tuple[int, float], ...]]:
    """For each vector the `count` others nearest to it and their Euclidean distances, nearest first."""
    squares = np.square(codebook).sum(axis=1)
    distances = np.sqrt(np.maximum(0, squares[:, None] + squares - 2 * codebook @ codebook.T))
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, : min(count, len(codebook) - 1)]
    return [tuple((int(other), float(distances[unit, other])) for other in row) for unit, row in enumerate(order)]


def _principal_plane(centred: np.ndarray) -> np.ndarray:
    """`(n, 2)`; the sign is fixed, so that the same codebook gives the same map."""
    left, scales, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    count = min(2, len(scales))
    signs = np.sign(axes[np.arange(count), np.abs(axes[:count]).argmax(axis=1)])
    plane = left[:, :count] * scales[:count] * np.where(signs == 0, 1, signs)
    return np.pad(plane, ((0, 0), (0, 2 - count)))


def _unit_square(points: np.ndarray) -> np.ndarray:
    low = points.min(axis=0)
    return (points - low) / max(float((points.max(axis=0) - low).max()), 1e-12)
