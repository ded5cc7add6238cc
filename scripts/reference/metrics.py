"""Reference numbers of src/metrics/mod.rs: pip install scikit-learn; python metrics.py"""
import sklearn
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support
y = [0, 0, 0, 0, 1, 1, 1, 3, 3]; p = [0, 0, 1, 3, 1, 1, 0, 1, 3]
print(sklearn.__version__, confusion_matrix(y, p, labels=range(4)).tolist(), accuracy_score(y, p), f1_score(y, p, average="macro"))
print(precision_recall_fscore_support(y, p, labels=range(4), zero_division=0))
