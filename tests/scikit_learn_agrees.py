"""Compares the figures of an evaluation with what scikit-learn makes of its predictions.csv.

    python tests/scikit_learn_agrees.py FOLDER [FOLDER ...]

FOLDER is one that `emberlens` wrote, with predictions.csv and metrics.json. Fails if a figure differs by more than 1e-9;
prints how many were compared. Needs scikit-learn.
"""

import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn import metrics as m

warnings.simplefilter("ignore")


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    first = 4 if head[3] == "fold" else 3
    classes = head[first:]
    labels = np.array([classes.index(row[1]) for row in rows])
    # As the program has them: single precision.
    probabilities = np.array([row[first:] for row in rows], np.float32).astype(np.float64)
    return classes, labels, probabilities


def expected(labels, p):
    k = p.shape[1]
    every = list(range(k))
    got = p.argmax(axis=1)
    found = {
        "accuracy": m.accuracy_score(labels, got),
        "balanced_accuracy": m.balanced_accuracy_score(labels, got),
        "mcc": m.matthews_corrcoef(labels, got),
        "kappa": m.cohen_kappa_score(labels, got, labels=every),
        "log_loss": m.log_loss(labels, p, labels=every),
        "brier": m.brier_score_loss(labels, p, labels=every),
        "roc_auc": np.mean([m.roc_auc_score(labels == c, p[:, c]) for c in every]),
        "average_precision": np.mean([m.average_precision_score(labels == c, p[:, c]) for c in every]),
    }
    for average in ("macro", "weighted"):
        for name, score in (("precision", m.precision_score), ("recall", m.recall_score), ("f1", m.f1_score)):
            found[f"{average}_{name}"] = score(labels, got, average=average, zero_division=0)
    for top in (2, 3, 5):
        if top < k:
            found[f"top_{top}_accuracy"] = m.top_k_accuracy_score(labels, p, k=top, labels=every)
    return found


def check(folder):
    classes, labels, p = read(folder / "predictions.csv")
    measured = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert measured["classes"] == classes, (measured["classes"], classes)
    assert measured["images"] == len(labels), (measured["images"], len(labels))
    wanted = expected(labels, p)
    assert sorted(wanted) == sorted(measured["metrics"]), sorted(measured["metrics"])
    for name, value in wanted.items():
        got = measured["metrics"][name]["value"]
        assert abs(got - value) < 1e-9, f"{folder}: {name}: found {got}, scikit-learn has {value}"
    print(f"{folder}: {len(wanted)} figures of {len(labels)} images agree")


for name in sys.argv[1:]:
    check(Path(name))
