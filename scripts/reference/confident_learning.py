"""Writes tests/golden/confident_learning.json: labels, probabilities out of fold, and the positions that cleanlab takes for wrong labels by
confident learning (`filter_by="confident_learning"`), which are those off the diagonal of the confident joint.

    pip install cleanlab==2.9.0
    python scripts/reference/confident_learning.py
"""

import json
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues

CASES = [(2, 40, 2.0), (2, 60, 0.7), (3, 60, 1.5), (3, 90, 0.8), (4, 80, 1.2), (5, 120, 1.0)]


def main():
    cases = []
    for seed, (classes, count, skill) in enumerate(CASES):
        draw = np.random.default_rng(seed)
        shown = draw.integers(0, classes, count)
        labels = np.where(draw.random(count) < 0.15, draw.integers(0, classes, count), shown)
        labels[:classes] = np.arange(classes)
        logits = draw.normal(size=(count, classes)) + skill * 2 * np.eye(classes)[shown]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        probabilities = np.round(probabilities, 6)
        probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
        found = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
        cases.append({
            "labels": labels.tolist(),
            "probabilities": [[round(float(value), 6) for value in row] for row in probabilities],
            "issues": np.flatnonzero(found).tolist(),
        })
    target = Path(__file__).resolve().parents[2] / "tests" / "golden" / "confident_learning.json"
    target.write_text(json.dumps(cases) + "\n")
    print([len(case["issues"]) for case in cases])


if __name__ == "__main__":
    main()
