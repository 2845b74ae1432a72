"""Models and margins of XGBoost (1.7.4 of Debian) on data that is generated here, for
tests/c/kernels/trees_load_test.c: /usr/bin/python3 tests/golden/trees.py writes tests/golden/trees/."""
import json
import os
import numpy as np
import xgboost as xgb

FOLDER = os.path.join(os.path.dirname(__file__), 'trees')
random = np.random.default_rng(17)


def thresholds(booster):
    """Each feature's thresholds as they lie in the file, which rows shall hit exactly."""
    model = json.loads(bytes(booster.save_raw('json')))['learner']['gradient_booster']
    found = {}
    for tree in model.get('gbtree', model)['model']['trees']:
        for i, left in enumerate(tree['left_children']):
            if left >= 0 and tree['split_type'][i] == 0:
                found.setdefault(tree['split_indices'][i], set()).add(tree['split_conditions'][i])
    return {j: sorted(map(np.float32, values)) for j, values in sorted(found.items())}


def rows_of(booster, x):
    rows = x[:20].astype('f8')
    for j, values in thresholds(booster).items():
        for t in values[:6]:
            for v in (t, np.nextafter(t, np.float32(9e9)), np.nextafter(t, np.float32(-9e9))):
                row = x[random.integers(len(x))].astype('f8')
                row[j] = v
                rows = np.vstack([rows, row])
        for v in (np.nan, 0.0, -0.0, 1e30, -1e30):
            row = x[random.integers(len(x))].astype('f8')
            row[j] = v
            rows = np.vstack([rows, row])
    return rows


def save(name, params, x, y, rounds, types=None):
    names = [f'f{j}' for j in range(x.shape[1])]
    how = dict(feature_names=names, feature_types=types, enable_categorical=types is not None)
    booster = xgb.train(dict(params, nthread=1, seed=3), xgb.DMatrix(x, y, **how), rounds)
    for form in 'json', 'ubj':
        booster.save_model(os.path.join(FOLDER, f'{name}.{form}'))
    rows = rows_of(booster, x)
    data = xgb.DMatrix(rows, **how)
    margin = booster.predict(data, output_margin=True).reshape(len(rows), -1)
    prob = booster.predict(data).reshape(len(rows), -1)
    groups = margin.shape[1]
    several = [str(g) for g in range(groups)] if groups > 1 else ['']
    head = names + ['margin' + s for s in several] + ['prob' + s for s in several]
    with open(os.path.join(FOLDER, f'{name}.rows.csv'), 'w') as f:
        f.write(','.join(head) + '\n')
        for row in np.hstack([rows, margin, prob]):
            f.write(','.join('' if np.isnan(v) else f'{v:.17g}' for v in row) + '\n')


os.makedirs(FOLDER, exist_ok=True)
x = random.normal(size=(600, 4)).astype('f4')
x[random.random(x.shape) < 0.1] = np.nan
score = np.nan_to_num(x[:, 0] * x[:, 1]) + np.nan_to_num(x[:, 2])
y = (score + random.normal(size=600) * 0.3 > 0).astype(int)
logistic = dict(objective='binary:logistic', max_depth=3)
save('missing', dict(logistic, base_score=0.3), x, y, 6)
save('dart', dict(logistic, booster='dart', rate_drop=0.4), x, y, 5)
save('forest', dict(logistic, num_parallel_tree=3, subsample=0.5), x, y, 2)
save('classes', dict(objective='multi:softprob', num_class=3, max_depth=2), x,
     (score > -0.5).astype(int) + (score > 0.5), 3)
c = x.copy()
c[:, 3] = random.integers(0, 40, 600)
save('categories', dict(logistic, tree_method='hist', max_cat_to_onehot=1), c,
     ((c[:, 3] % 7 < 3) ^ (score > 0)).astype(int), 5, ['q', 'q', 'q', 'c'])
