"""A small forest of scikit-learn's on data of our own, its trees and exact scores, as JSON.
/usr/bin/python3 tests/golden/isolation_forest.py >tests/golden/isolation_forest.json"""
import json

import numpy
from sklearn.ensemble import IsolationForest

generator = numpy.random.default_rng(20)
x = generator.normal(size=(300, 4)) * [1, 100, 1e-3, 1] + [0, 1e4, 0, 5]
x[:, 3] = numpy.round(x[:, 3])
x[::50] += [8, 0, 0.01, 0]
x = x.astype(numpy.float32).astype(float)
forest = IsolationForest(n_estimators=10, max_samples=64, contamination=0.08, random_state=1).fit(x)
scores, decisions, predictions = (
    forest.score_samples(x), forest.decision_function(x), forest.predict(x))
trees = []
for estimator in forest.estimators_:
    t = estimator.tree_
    trees.append({"feature": t.feature.tolist(), "threshold": t.threshold.tolist(),
                  "left": t.children_left.tolist(), "right": t.children_right.tolist(),
                  "n": t.n_node_samples.tolist()})
rows = [{"x": x[i].tolist(), "score": scores[i], "decision": decisions[i],
         "predict": int(predictions[i])} for i in range(0, 300, 10)]
print(json.dumps({"n_features": 4, "max_samples": forest.max_samples_, "offset": forest.offset_,
                  "params": {"contamination": 0.08}, "rows": rows, "trees": trees},
                 separators=(",", ":")))
