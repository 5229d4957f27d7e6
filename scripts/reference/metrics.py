"""Reference values of metrics, computed by scikit-learn.

    pip install scikit-learn numpy && python scripts/reference/metrics.py

writes metric/testdata/sklearn.json. Perplexity and IoU of images, which scikit-learn
does not have, are computed by their definitions in numpy, in float64. Inputs are exact
in float32.
"""
import json
import math
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn import metrics as sk

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20)
f32 = lambda a: np.asarray(a, dtype=np.float32)


def number(v):
    v = float(v)
    return None if math.isnan(v) else v


def by_class(y, p, n):
    out = {}
    ways = {"": "macro", "_micro": "micro", "_weighted": "weighted"}
    if n == 2:
        ways["_binary"] = "binary"
    for suffix, average in ways.items():
        # Without labels= the classes are those that occur, which is what macro means here.
        out["precision" + suffix] = number(sk.precision_score(y, p, average=average))
        out["recall" + suffix] = number(sk.recall_score(y, p, average=average))
        out["f1" + suffix] = number(sk.f1_score(y, p, average=average))
        out["f2" + suffix] = number(sk.fbeta_score(y, p, beta=2, average=average))
        out["iou" + suffix] = number(sk.jaccard_score(y, p, average=average))
        out["dice" + suffix] = out["f1" + suffix]
    labels = list(range(n))
    per = {
        "precision": sk.precision_score(y, p, average=None, labels=labels),
        "recall": sk.recall_score(y, p, average=None, labels=labels),
        "f1": sk.f1_score(y, p, average=None, labels=labels),
        "iou": sk.jaccard_score(y, p, average=None, labels=labels),
    }
    return out, {k: [number(x) for x in v] for k, v in per.items()}


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    # Rows of the same logits in another order have the same probabilities; rounding
    # keeps their sums from saying otherwise.
    return np.round(e / e.sum(axis=1, keepdims=True), 12)


def classification(name, z, y):
    n = z.shape[1]
    p = z.argmax(axis=1)
    values, per = by_class(y, p, n)
    values["accuracy"] = number(sk.accuracy_score(y, p))
    if n > 2 and len({tuple(sorted(row)) and len(set(row)) for row in z}) == 1 and len(set(z[0])) == n:
        for k in (2, 3):
            values[f"top{k}"] = number(sk.top_k_accuracy_score(y, z, k=k, labels=list(range(n))))
    case = {
        "name": name, "classes": n, "scores": z.flatten().tolist(), "targets": y.tolist(),
        "confusion": sk.confusion_matrix(y, p, labels=list(range(n))).tolist(),
    }
    prob = softmax(z)
    rows = z.astype(np.float64)
    values["perplexity"] = number(np.exp((np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(y)), y]).mean()))
    if n == 2:
        s = z[:, 1] - z[:, 0]
        values["auc"] = number(sk.roc_auc_score(y, s)) if len(set(y)) == 2 else None
        if 1 in y:
            values["average_precision"] = number(sk.average_precision_score(y, s))
        pr = sk.precision_recall_curve(y, s)
        case["pr"] = [c.tolist() for c in pr]
        if len(set(y)) == 2:
            roc = sk.roc_curve(y, s, drop_intermediate=False)
            case["roc"] = [roc[0].tolist(), roc[1].tolist(), roc[2][1:].tolist()]  # the first is infinite
    elif len(set(y)) == n:
        values["auc"] = number(sk.roc_auc_score(y, prob, multi_class="ovr", average="macro"))
        values["average_precision"] = number(np.mean([sk.average_precision_score(y == k, prob[:, k]) for k in range(n)]))
        per["auc"] = [number(sk.roc_auc_score(y == k, prob[:, k])) for k in range(n)]
    case["values"], case["per_class"] = values, per
    return case


def regression(name, p, t):
    p, t = f32(p), f32(t)
    a, b = t.astype(np.float64), p.astype(np.float64)
    return {
        "name": name, "predictions": p.tolist(), "targets": t.tolist(),
        "values": {
            "mae": number(sk.mean_absolute_error(a, b)),
            "mse": number(sk.mean_squared_error(a, b)),
            "rmse": number(sk.root_mean_squared_error(a, b)),
            "r2": number(sk.r2_score(a, b)),
            "mape": number(sk.mean_absolute_percentage_error(a, b)),
        },
    }


def logits(rows, n, levels=None):
    z = rng.normal(size=(rows, n)) * 2
    if levels:
        z = np.round(z * levels) / levels
    return f32(z)


cases = [
    classification("binary", logits(60, 2), rng.integers(0, 2, 60)),
    # Scores in quarters: many are equal.
    classification("binary, ties", logits(80, 2, 2), rng.integers(0, 2, 80)),
    classification("binary, all scores equal", f32(np.zeros((10, 2))), rng.integers(0, 2, 10)),
    classification("binary, perfect", f32([[1, 0], [0, 1], [3, 1], [0, 2]]), np.array([0, 1, 0, 1])),
    classification("binary, only negatives", logits(9, 2), np.zeros(9, int)),
    classification("binary, only positives", logits(9, 2), np.ones(9, int)),
    classification("binary, none predicted", f32([[1, 0], [2, 0], [3, 0]]), np.array([0, 1, 1])),
    classification("one example", logits(1, 3), np.array([2])),
    classification("four classes", logits(100, 4), rng.integers(0, 4, 100)),
    classification("four classes, ties", logits(100, 4, 1), rng.integers(0, 4, 100)),
    # Class 3 is predicted but not there, class 4 neither.
    classification("absent classes", np.concatenate([logits(40, 4), f32(np.full((40, 1), -50))], axis=1), rng.integers(0, 3, 40)),
    classification("rare class", logits(200, 3), (rng.random(200) < 0.03).astype(int) + 1),
]
deviations = [
    regression("plain", rng.normal(size=50), rng.normal(size=50)),
    regression("far from zero", 1e4 + rng.normal(size=40), 1e4 + rng.normal(size=40)),
    regression("targets of zero", [0.5, 1, 0], [0, 2, 0]),
    regression("equal targets", [1, 2, 3], [2, 2, 2]),
    regression("equal targets, perfect", [2, 2, 2], [2, 2, 2]),
    regression("one", [3], [2]),
]
path = pathlib.Path(__file__).parents[2] / "metric" / "testdata" / "sklearn.json"
with open(path, "w") as f:
    f.write('{"about": {"scikit-learn": "%s", "numpy": "%s"},\n"classification": [\n' % (sklearn.__version__, np.__version__))
    f.write(",\n".join(json.dumps(c) for c in cases))
    f.write('\n],\n"regression": [\n')
    f.write(",\n".join(json.dumps(c) for c in deviations))
    f.write("\n]}\n")
