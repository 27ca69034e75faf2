"""A linear probe: multinomial logistic regression, of vectors or of one-hot units."""

import warnings
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ITERATIONS = 100  # of L-BFGS

Features: TypeAlias = np.ndarray | csr_array  # (n, features) float32


def fit_linear_probe(features: Features, labels: np.ndarray) -> Any:
    """A classifier of scikit-learn that has learned `labels` `(n,)`; `predict` gives labels of the same kind.

    Dense features are standardised first; sparse ones are taken as they are.
    """
    with warnings.catch_warnings():
        # what comes after so many steps changes no figure we show
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _classifier(features, labels).fit(features, labels)


def _classifier(features: Features, labels: np.ndarray) -> Any:
    if not features.shape[1] or len(np.unique(labels)) == 1:  # nothing to see, or nothing to tell apart
        return DummyClassifier()
    regression = LogisticRegression(max_iter=ITERATIONS)
    return make_pipeline(StandardScaler(), regression) if isinstance(features, np.ndarray) else regression


def one_hot(units: np.ndarray, codebook_size: int, reach: int) -> csr_array:
    """Units `(time,)` and their neighbours up to `reach` away, each place one-hot: `(time, (2 · reach + 1) · K)`."""
    places = 2 * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(units, reach, mode="edge"), places)
    ones = (windows + codebook_size * np.arange(places)).ravel()
    shape = (len(units), places * codebook_size)
    return csr_array((np.ones(len(ones), np.float32), ones, np.arange(0, len(ones) + 1, places)), shape=shape)
