"""Reference numbers of figures by slice and of corrected p-values: pip install scikit-learn scipy statsmodels; python slices.py writes tests/golden/slices.json, null where scikit-learn has no number."""
import json, os, warnings
import numpy as np, scipy, sklearn, statsmodels
from scipy.stats import binomtest, fisher_exact
from sklearn import metrics as m
from statsmodels.stats.multitest import multipletests

warnings.simplefilter("ignore")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "slices.json")
rng = np.random.default_rng(25)
CLASSES, NAMES = 3, ["A", "B", "C", "few"]


def number(f):
    value = float(f())
    return value if np.isfinite(value) else None


def figures(y, p):
    got, labels = p.argmax(axis=1), list(range(CLASSES))
    precision, recall, f1, support = m.precision_recall_fscore_support(y, got, labels=labels, zero_division=0)
    wilson = binomtest(int((y == got).sum()), len(y)).proportion_ci(method="wilson")
    return {
        "accuracy": m.accuracy_score(y, got), "balanced_accuracy": number(lambda: m.balanced_accuracy_score(y, got)),
        "macro_f1": m.f1_score(y, got, average="macro", zero_division=0), "mcc": m.matthews_corrcoef(y, got),
        "log_loss": m.log_loss(y, p, labels=labels), "interval": [wilson.low, wilson.high],
        "per_class": [[precision[c], recall[c], f1[c], int(support[c])] for c in labels],
    }


# A is easy, B is hard, C is between; "few" has fewer images than a slice needs.
slices = np.repeat([0, 1, 2, 3], [60, 45, 30, 6])
sharpness = np.array([3.0, 0.6, 2.2, 1.0])[slices]
order = rng.permutation(len(slices))
slices, sharpness = slices[order], sharpness[order]
labels = rng.integers(0, CLASSES, len(slices))
logits = rng.normal(size=(len(slices), CLASSES))
logits[np.arange(len(slices)), labels] += sharpness
p = np.exp(logits)
p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
right = p.argmax(axis=1) == labels
expected, tests = [], []
for s in range(len(NAMES)):
    inside = slices == s
    expected.append({"name": NAMES[s], "images": int(inside.sum()), **figures(labels[inside], p[inside])})
    if s < 3:
        table = [[int((right & inside).sum()), int((~right & inside).sum())], [int((right & ~inside).sum()), int((~right & ~inside).sum())]]
        tests.append(fisher_exact(table).pvalue)
for s, value in enumerate(multipletests(tests, method="holm")[1]):
    expected[s]["p"], expected[s]["corrected_p"] = tests[s], value

fisher = [[0, 0, 0, 0], [3, 0, 0, 3], [0, 5, 7, 0], [1, 9, 11, 3], [8, 2, 1, 5], [500, 20, 480, 40], [10, 10, 10, 10], [4000, 100, 900, 60]]
fisher += rng.integers(0, 60, (20, 4)).tolist()
holm = [[0.01], [0.04, 0.01], [0.01, 0.02, 0.03, 0.04], [0.5, 0.5, 0.9], [0.001, 1.0, 0.02, 0.02, 0.3]]
golden = {
    "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
    "labels": labels.tolist(), "slices": slices.tolist(), "probabilities": p.tolist(), "expected": expected,
    "fisher": [[*t, 1.0 if sum(t) == 0 else float(fisher_exact([t[:2], t[2:]]).pvalue)] for t in fisher],
    "holm": [[v, multipletests(v, method="holm")[1].tolist()] for v in holm],
}
with open(HERE, "w") as f:
    json.dump(golden, f)
    f.write("\n")
