#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes stats.json: inputs and what SciPy, statsmodels, scikit-learn and confseq say about them.

    python3 -m venv venv && venv/bin/pip install numpy scipy statsmodels scikit-learn
    venv/bin/pip download --no-deps confseq==0.0.11 && tar xzf confseq-0.0.11.tar.gz
    venv/bin/python tests/golden/make_stats.py confseq-0.0.11/src

Run once; tests/lua/stats_golden_test.lua reads the file. Of confseq only its betting module is used, whose imports of
plotting and process pools (and of its compiled part, which wants Boost) are stood in for here.
"""
import itertools
import json
import pathlib
import sys
import types

import numpy as np
import scipy.optimize
import scipy.stats
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

if not hasattr(np, "float_"):
    np.float_ = np.float64
for name in ("matplotlib", "matplotlib.pyplot", "multiprocess"):
    sys.modules.setdefault(name, types.ModuleType(name))
sys.path.insert(0, sys.argv[1])
from confseq.betting import betting_cs  # noqa: E402

rng = np.random.default_rng(20261122)
out = {}


def rounded(values, digits=4):
    """Inputs are rounded before use, so that the file holds exactly what was computed on."""
    return np.round(np.asarray(values, dtype=float), digits)


out["t"] = [
    {"t": t, "dof": d, "cdf": scipy.stats.t.cdf(t, d), "p": p, "quantile": scipy.stats.t.ppf(p, d)}
    for t, d, p in [(-8.0, 3, 1e-6), (-2.5, 9, 0.01), (-0.1, 1, 0.3), (0.7, 19.5, 0.6), (2.0, 59, 0.975),
                    (12.0, 4, 0.9999)]
]

out["isotonic"] = []
for n in (1, 5, 14):
    y, w = rounded(rng.normal(size=n)), rounded(rng.uniform(0.5, 6, n))
    for increasing in (True, False):
        fit = scipy.optimize.isotonic_regression(y, weights=w, increasing=increasing).x
        out["isotonic"].append({"y": y.tolist(), "w": w.tolist(), "decreasing": not increasing, "fit": fit.tolist()})

out["wilson"] = [
    dict(zip(("k", "n", "level", "lo", "hi"), (k, n, level, *proportion_confint(k, n, 1 - level, "wilson"))))
    for k, n, level in [(0, 12, 0.95), (5, 12, 0.9), (181, 200, 0.99)]
]
out["mcnemar"] = [
    {"b": b, "c": c, "p": mcnemar([[9, b], [c, 9]], exact=True).pvalue} for b, c in [(1, 9), (13, 24), (210, 160)]
]
ps = rounded(rng.beta(0.4, 4, 12))
out["holm"] = {"p": ps.tolist(), "adjusted": multipletests(ps, method="holm")[1].tolist()}

d = rounded(rng.normal(0.3, 1, 12))
exact = scipy.stats.permutation_test((d,), lambda x: abs(np.mean(x)), permutation_type="samples", alternative="greater",
                                     n_resamples=np.inf)
out["sign_flip"] = {"d": d.tolist(), "p": exact.pvalue}

a = rounded(rng.normal(0.5, 0.2, 25))
b = rounded(a + rng.normal(0.01, 0.05, 25))
p, low, high = ttost_paired(a, b, -0.03, 0.03)
diff = sm.stats.DescrStatsW(a - b)
out["tost"] = {"a": a.tolist(), "b": b.tolist(), "margin": 0.03, "p": p,
               "interval": list(diff.tconfint_mean(alpha=0.1))}

cells = rounded(rng.normal(0, 1, (10, 6)))
cells[:, 2] = rounded(cells[:, 2] + 0.9)
scale = np.sqrt((cells**2).sum(0))
signs = np.array(list(itertools.product([1, -1], repeat=10)))
tops = np.abs(signs @ cells / scale).max(1)
t = cells.sum(0) / scale
out["max_t"] = {"values": cells.tolist(), "t": t.tolist(), "p": [(tops >= abs(v) - 1e-12).mean() for v in t]}

# Failure ~ question effects + condition effects + beta GER + gamma placebo, unbalanced, errors by passage.
rows = []
for passage in range(12):
    for question in range(rng.integers(2, 5)):
        taste = rng.normal()
        for condition in range(5):
            if rng.uniform() < 0.85:
                ger = np.clip(condition / 5 + 0.2 * rng.normal() + 0.1 * taste, 0, 1)
                placebo = np.clip(condition / 5 + 0.2 * rng.normal(), 0, 1)
                fail = float(rng.uniform() < np.clip(0.1 + 0.7 * ger + 0.1 * taste, 0, 1))
                rows.append((passage, f"{passage}/{question}", condition, round(ger, 4), round(placebo, 4), fail))
question_names = sorted({r[1] for r in rows})
dummies = [[r[1] == q for q in question_names] for r in rows]
conditions = [[r[2] == c for c in range(1, 5)] for r in rows]
x = np.column_stack([[r[3] for r in rows], [r[4] for r in rows], np.array(dummies, float), np.array(conditions, float)])
groups = np.array([r[0] for r in rows])
fit = sm.OLS([r[5] for r in rows], x).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
n, G = len(rows), 12
# statsmodels counts the question dummies too; kvbench does not (they lie inside passages): its K is 2 + 5 conditions.
factor = np.sqrt((n - x.shape[1]) / (n - 2 - 5))
contrast = np.zeros(x.shape[1])
contrast[0], contrast[1] = 1, -1
test = fit.t_test(contrast)
out["fixed_effects"] = {
    "rows": [list(r) for r in rows], "beta": fit.params[0], "gamma": fit.params[1], "se_beta": fit.bse[0] * factor,
    "se_gamma": fit.bse[1] * factor, "contrast": float(test.effect[0]), "se_contrast": float(test.sd.item()) * factor,
}

out["dprime"] = []
for h, s, f, m in [(18, 20, 3, 25), (20, 20, 0, 25), (7, 20, 9, 25)]:
    zh, zf = scipy.stats.norm.ppf((h + 0.5) / (s + 1)), scipy.stats.norm.ppf((f + 0.5) / (m + 1))
    out["dprime"].append({"counts": [h, s, f, m], "dprime": zh - zf, "criterion": -(zh + zf) / 2})

# A step over log2(kept): least squares by SciPy from several starts.
xs = np.array([2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0])
px, py, pc = [], [], []
for c in range(12):
    for v in xs:
        px.append(v)
        py.append(round(float(0.1 + 0.7 / (1 + np.exp(-(v - 4.8) / 0.4)) + 0.15 * rng.normal()), 4))
        pc.append(c)
px, py = np.array(px), np.array(py)


def logistic(x, low, high, middle, width):
    return low + (high - low) / (1 + np.exp(-(x - middle) / width))


def kinked(x, a, b, bend, k):
    return a + b * x + bend * np.maximum(0, x - k)


def best(f, starts):
    fits = [scipy.optimize.curve_fit(f, px, py, s, maxfev=20000)[0] for s in starts]
    return min(fits, key=lambda q: ((f(px, *q) - py) ** 2).sum())


step = best(logistic, [(0, 1, 4, 0.5), (0, 1, 5, 0.3), (0.1, 0.9, 5, 1)])
kink = best(kinked, [(0, 0, 0.3, k) for k in (2.5, 3.5, 4.2, 4.8, 5.7, 6.4)])
line = np.polyfit(px, py, 1)
out["curve_fit"] = {
    "x": px.tolist(), "y": py.tolist(), "passage": pc,
    "logistic": {"low": step[0], "high": step[1], "b50": step[2], "width": step[3],
                 "sse": float(((logistic(px, *step) - py) ** 2).sum())},
    "kink": {"kink": kink[3], "sse": float(((kinked(px, *kink) - py) ** 2).sum())},
    "linear": {"slope": line[0], "offset": line[1], "sse": float(((np.polyval(line, px) - py) ** 2).sum())},
}

# Hedged capital without replacement: the whole path, at some times.
out["hedged"] = []
for N, kind in [(400, "bernoulli"), (300, "beta"), (60, "rare")]:
    if kind == "bernoulli":
        values = (rng.uniform(size=N) < 0.3).astype(float)
    elif kind == "beta":
        values = rounded(rng.beta(2, 3, N), 3)
    else:
        values = (np.arange(N) % 20 == 7).astype(float)
    times = [i for i in (1, 2, 5, 10, 25, 50, 59, 60, 100, 200, 299, 300, 399, 400) if i <= N]
    lo, hi = betting_cs(values, breaks=1000, alpha=0.05, running_intersection=True, N=N)
    out["hedged"].append({"N": N, "values": values.tolist(), "times": times, "lo": [lo[i - 1] for i in times],
                          "hi": [hi[i - 1] for i in times]})

# Multinomial logistic regression with an L2 penalty on the weights, not on the offsets.
n, features, classes = 90, 5, 3
truth = rng.normal(size=(classes, features))
x = rounded(rng.normal(size=(n, features)), 3)
labels = (x @ truth.T + rng.gumbel(size=(n, classes))).argmax(1)
out["logistic_regression"] = {"x": x.tolist(), "labels": labels.tolist(), "fits": []}
for l2 in (0.001, 0.1, 3.0):
    # kvbench: mean cross-entropy + l2 / 2 |W|^2; scikit-learn: C * sum of cross-entropies + 1 / 2 |W|^2
    fit = LogisticRegression(C=1 / (l2 * n), tol=1e-12, max_iter=20000).fit(x, labels)
    out["logistic_regression"]["fits"].append({
        "l2": l2, "weights": fit.coef_.tolist(), "offsets": (fit.intercept_ - fit.intercept_.mean()).tolist(),
        "loss": float(-np.mean(np.log(fit.predict_proba(x)[np.arange(n), labels])))})


def plain(v):
    if isinstance(v, dict):
        return {k: plain(w) for k, w in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(w) for w in v]
    if isinstance(v, (np.floating, np.integer, np.bool_)):
        v = v.item()
    return float(f"{v:.13g}") if isinstance(v, float) else v


path = pathlib.Path(__file__).with_name("stats.json")
path.write_text("{\n" + ",\n".join(f'"{k}": {json.dumps(plain(v))}' for k, v in out.items()) + "\n}\n")
print(path, path.stat().st_size, "bytes")
