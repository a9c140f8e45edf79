"""The forest of `benchmarks.accuracy.forest`, grown until the time is over."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.measure import label
from sklearn.ensemble import (  # type: ignore[import-untyped]
    RandomForestClassifier,
)

from benchmarks.accuracy.forest import SHARE, TREES, pixel_features
from benchmarks.accuracy.peers.hand_over import Given, Learnt, run

if TYPE_CHECKING:
    from numpy.typing import NDArray


def learn(given: Given) -> Learnt:
    """Add trees while there is time for more, up to the usual number."""
    images, labels = given.pairs()
    features = np.concatenate([pixel_features(image) for image in images])
    classes = np.concatenate([(one > 0).ravel() for one in labels])
    forest = RandomForestClassifier(
        given.threads,
        max_samples=SHARE,
        n_jobs=given.threads,
        random_state=given.seed,
        warm_start=True,
    )
    seconds = 0.0
    while True:
        began = perf_counter()
        forest.fit(features, classes)
        seconds = max(seconds, perf_counter() - began)
        if forest.n_estimators >= TREES or given.left < seconds:
            break
        forest.n_estimators += given.threads

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        voted = forest.predict_proba(pixel_features(image))[:, 1]
        probability: NDArray[Any] = voted.reshape(image.shape)
        # somebody with a forest has its classes, and cells are pieces of them
        return label(probability > 0.5) if given.objects else probability

    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    return Learnt(predict, forest.n_estimators, nodes)


if __name__ == "__main__":
    run(learn, ("scikit-learn", "scikit-image"))
