"""Reference numbers of src/metrics/: pip install scikit-learn scipy; python metrics.py writes tests/golden/metrics.json, null where scikit-learn has no number."""
import json, os, warnings
import numpy as np, sklearn
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import binomtest
from sklearn import metrics as m

warnings.simplefilter("ignore")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "metrics.json")
rng = np.random.default_rng(5)


def probabilities(labels, classes, digits, sharpness):
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += sharpness
    p = np.exp(logits)
    p = p / p.sum(axis=1, keepdims=True)
    # As the program has them: single precision; few digits make ties.
    return np.round(p, digits).astype(np.float32).astype(np.float64)


def number(f):
    try:
        value = float(f())
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def case(name, labels, classes, digits=9, sharpness=1.0):
    y, k = np.array(labels), classes
    p = probabilities(y, k, digits, sharpness)
    all_labels = list(range(k))
    got = p.argmax(axis=1)
    onehot = np.eye(k)[y]
    common = dict(zero_division=0)
    confusion = m.confusion_matrix(y, got, labels=all_labels)
    per_class = []
    precision, recall, f1, support = m.precision_recall_fscore_support(y, got, labels=all_labels, zero_division=0)
    for c in all_labels:
        truth = y == c
        negatives = (~truth).sum()
        per_class.append({
            "precision": precision[c], "recall": recall[c], "f1": f1[c], "support": int(support[c]),
            "specificity": None if negatives == 0 else float(((got != c) & ~truth).sum() / negatives),
            "roc_auc": number(lambda: m.roc_auc_score(truth, p[:, c])) if 0 < truth.sum() < len(y) else None,
            "average_precision": number(lambda: m.average_precision_score(truth, p[:, c])) if truth.any() else None,
        })
    mean = lambda key: (lambda v: float(np.mean(v)) if v else None)([c[key] for c in per_class if c[key] is not None])
    expected = {
        "accuracy": m.accuracy_score(y, got),
        "balanced_accuracy": number(lambda: m.balanced_accuracy_score(y, got)),
        "macro_precision": m.precision_score(y, got, average="macro", **common), "macro_recall": m.recall_score(y, got, average="macro", **common),
        "macro_f1": m.f1_score(y, got, average="macro", **common),
        "weighted_precision": m.precision_score(y, got, average="weighted", **common), "weighted_recall": m.recall_score(y, got, average="weighted", **common),
        "weighted_f1": m.f1_score(y, got, average="weighted", **common),
        "mcc": m.matthews_corrcoef(y, got), "kappa": number(lambda: m.cohen_kappa_score(y, got, labels=all_labels)),
        "log_loss": m.log_loss(y, p, labels=all_labels), "brier": number(lambda: m.brier_score_loss(y, p, labels=all_labels)),
        "roc_auc": mean("roc_auc"), "average_precision": mean("average_precision"),
    }
    for top in (2, 3, 5):
        if top < k:
            expected[f"top_{top}_accuracy"] = m.top_k_accuracy_score(y, p, k=top, labels=all_labels)
    return {"name": name, "classes": k, "labels": [int(v) for v in y], "probabilities": p.tolist(), "confusion": confusion.tolist(), "expected": expected, "per_class": per_class}


cases = [
    case("four classes", rng.integers(0, 4, 80), 4),
    case("ties", rng.integers(0, 4, 60), 4, digits=1),
    case("two classes", rng.integers(0, 2, 50), 2),
    case("two classes with ties", rng.integers(0, 2, 50), 2, digits=1),
    case("seven classes, some rare", np.concatenate([rng.integers(0, 3, 40), [3, 4, 5, 6]]), 7),
    case("a class without an image", rng.choice([0, 1, 3], 40), 4),
    case("images of one class only", np.full(12, 1), 3),
    case("one image", [2], 3),
    case("all right", rng.integers(0, 3, 30), 3, sharpness=40.0),
]
wilson = [[k, n, *m_ci] for k, n in ((0, 1), (1, 1), (8, 10), (238, 394), (31, 135), (1, 10000)) for m_ci in [binomtest(k, n).proportion_ci(method="wilson")]]
def temperature(count, classes, sharpness):
    z = (rng.normal(size=(count, classes)) * sharpness).astype(np.float32).astype(np.float64)
    y = np.array([rng.choice(classes, p=np.exp(row / 2) / np.exp(row / 2).sum()) for row in z])
    loss = lambda t: float(np.mean(logsumexp(z / t, axis=1) - z[np.arange(count), y] / t))
    t = minimize_scalar(lambda u: loss(np.exp(u)), bounds=(-3, 3), method="bounded", options={"xatol": 1e-12}).x
    return {"logits": z.tolist(), "labels": y.tolist(), "temperature": float(np.exp(t))}


temperatures = [temperature(60, 4, 3.0), temperature(40, 2, 1.0)]
mcnemar = [[b, c, binomtest(b, b + c).pvalue] for b, c in ((0, 1), (3, 3), (2, 48), (10, 25), (140, 160), (700, 820))]
with open(HERE, "w") as file:
    json.dump({"scikit-learn": sklearn.__version__, "cases": cases, "wilson": wilson, "mcnemar": mcnemar, "temperature": temperatures}, file, separators=(",", ":"))
print(sklearn.__version__, os.path.getsize(HERE))
for c in cases:
    print(c["name"], {k: v if v is None else round(v, 4) for k, v in c["expected"].items()})
