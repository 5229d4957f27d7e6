"""Reference values of scalers and encoders, computed by scikit-learn.

    pip install scikit-learn numpy && python scripts/reference/preprocess.py

writes data/preprocess/testdata/sklearn.json. null is a missing value.
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

rng = np.random.default_rng(3)
x = np.round(rng.normal(size=(12, 4)) * [1, 100, 0.01, 0] + [0, 1e4, 3, 7], 3)
x[2, 0] = x[5, 1] = x[7, 1] = np.nan
x[:, 2] = np.round(x[:, 2], 2)
new = np.round(rng.normal(size=(3, 4)) * 50, 2)
words = [["red", "M"], ["blue", "L"], ["green", "M"], ["red", ""], ["Blue", "XL"], ["\u00e9t\u00e9", "M"]]
plain = lambda a: [[None if v != v else float(v) for v in r] for r in np.asarray(a, dtype=float)]
out = {"about": "scikit-learn " + sklearn.__version__, "fit": plain(x), "new": plain(new), "words": words}
for t in (StandardScaler(), MinMaxScaler(), RobustScaler()):
    t.fit(x)
    out[type(t).__name__] = {"fit": plain(t.transform(x)), "new": plain(t.transform(new))}
for s in ("mean", "median", "most_frequent", "constant"):
    out["SimpleImputer " + s] = {"fit": plain(SimpleImputer(strategy=s, fill_value=-1 if s == "constant" else None).fit(x).transform(x))}
out["OrdinalEncoder"] = {"fit": plain(OrdinalEncoder().fit_transform(words))}
out["OneHotEncoder"] = {"fit": plain(OneHotEncoder(sparse_output=False).fit_transform(words))}
features = [["a", "b", "c=red", "c=blue", "\u00e9t\u00e9", ""], ["a", "a", "longer names of features"], []] + [[f"f{i}" for i in range(40)]]
out["features"] = features
out["FeatureHasher"] = {"fit": plain(FeatureHasher(n_features=16, input_type="string").transform(features).toarray())}
path = pathlib.Path(__file__).parents[2] / "data" / "preprocess" / "testdata" / "sklearn.json"
path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out.items()) + "\n}\n")
