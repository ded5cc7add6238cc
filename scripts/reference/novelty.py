"""Squared Mahalanobis distances by scikit-learn's LedoitWolf, for `src/metrics/novelty.rs`.

pip install numpy scikit-learn; prints the numbers. Versions as seen: see the test.
"""
import numpy as np
import sklearn
from sklearn.covariance import LedoitWolf

def rows(first, count):
    index, at = np.meshgrid(np.arange(first, first + count), np.arange(19), indexing="ij")
    common = index * 5 % 13 * (at % 3) + index * 3 % 7 * (at % 5)
    return ((common + (index * index * 7 + index * at * 3 + at * 11) % 23 / 8) / 16).astype(np.float32)

model = LedoitWolf().fit(rows(0, 12).astype(np.float64))
print(sklearn.__version__, model.shrinkage_)
print(model.mahalanobis(rows(40, 6).astype(np.float64)))
