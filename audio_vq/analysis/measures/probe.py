"""A linear probe: multinomial logistic regression, of vectors or of one-hot units."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array

ITERATIONS = 60  # of L-BFGS
SMALLEST_VARIANCE = 1e-12  # of latents that have collapsed to one point

Features: TypeAlias = np.ndarray | csr_array  # (n, features) float32


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Scores of classes are linear in the features; see `fit_linear_probe`."""

    classes: np.ndarray  # (classes,) sorted names
    weight: np.ndarray  # (features, classes)
    bias: np.ndarray  # (classes,)

    def predict(self, features: Features) -> np.ndarray:
        """Class of each row, `(n,)` indices into `classes`."""
        return np.asarray((features @ self.weight + self.bias).argmax(axis=1))


def fit_linear_probe(features: Features, labels: np.ndarray) -> LinearProbe:
    """The classifier that makes `labels` `(n,)` likeliest, weights held down as by a Gaussian of variance 1.

    Dense features are whitened first, by a map that becomes part of the weights: the search is then short. Sparse ones
    are taken as they are.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    if not isinstance(features, np.ndarray):
        weight, bias = _logistic_regression(features, targets, len(classes))
        return LinearProbe(classes, weight, bias)
    mean = features.mean(axis=0)
    whitening = _whitening(features - mean)
    weight, bias = _logistic_regression((features - mean) @ whitening, targets, len(classes))
    weight = whitening @ weight
    return LinearProbe(classes, weight, bias - mean @ weight)


def one_hot(units: np.ndarray, codebook_size: int, reach: int) -> csr_array:
    """Units `(time,)` and their neighbours up to `reach` away, each place one-hot: `(time, (2 · reach + 1) · K)`."""
    places = 2 * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(units, reach, mode="edge"), places)
    ones = (windows + codebook_size * np.arange(places)).ravel()
    shape = (len(units), places * codebook_size)
    return csr_array((np.ones(len(ones), np.float32), ones, np.arange(0, len(ones) + 1, places)), shape=shape)


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Maps `(n, features)` to features of about variance 1 that hardly correlate.

    The covariance is shrunk towards equal variances, the more the fewer rows there are for each feature.
    """
    rows, width = centred.shape
    variances, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred / rows)
    shrinkage = width / (width + rows)
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.mean()
    return (axes / np.sqrt(np.maximum(shrunk, SMALLEST_VARIANCE))).astype(np.float32)


def _logistic_regression(features: Features, targets: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(features, classes)` and bias `(classes,)`."""
    rows, width = features.shape
    at = np.arange(rows)
    transposed = features.T if isinstance(features, np.ndarray) else features.T.tocsr()

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = np.split(flat.astype(np.float32).reshape(width + 1, classes), [width])
        scores = features @ weight + bias
        scores -= scores.max(axis=1, keepdims=True)
        likelihood = scores[at, targets].astype(np.float64)
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        value = (np.log(total[:, 0]) - likelihood).mean() + 0.5 * float((weight * weight).sum()) / rows
        scores /= total  # now probabilities, then the error in them
        scores[at, targets] -= 1
        gradient = np.concatenate([transposed @ scores + weight, scores.sum(axis=0, keepdims=True)]) / rows
        return float(value), gradient.ravel().astype(np.float64)

    found = minimize(
        loss, np.zeros((width + 1) * classes), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
    )
    weight, bias = np.split(found.x.astype(np.float32).reshape(width + 1, classes), [width])
    return weight, bias[0]
