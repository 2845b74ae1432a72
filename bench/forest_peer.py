"""What scikit-learn's IsolationForest takes: `forest_peer.py SHAPE… ` with shapes such as 10000x8; a line
"SHAPE fit one batch" each, in seconds of the processor (batch: a row)."""
import sys
import time

import numpy
from sklearn.ensemble import IsolationForest


def best(times, work):
    least = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least


for shape in sys.argv[1:]:
    rows, columns = (int(n) for n in shape.split("x"))
    x = numpy.random.default_rng(1).standard_normal((rows, columns), dtype=numpy.float64)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=1, n_jobs=1)
    few = x[:5000]
    fit = best(2, lambda: forest.fit(x))
    forest.score_samples(few)
    one = best(5, lambda: forest.score_samples(x[:1]))
    batch = best(2, lambda: forest.score_samples(few)) / len(few)
    print(shape, fit, one, batch, flush=True)
