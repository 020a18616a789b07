# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/tensor.json: small inputs and what torch makes of them, in double, for tests/lua/linalg_test.lua.

usage: python tests/golden/make_tensor.py > tests/golden/tensor.json      (torch 2.x; the numbers are seeded)
"""
import json
import torch

torch.manual_seed(0)


def numbers(t):
    return [numbers(x) for x in t] if t.dim() else float("%.9g" % t.item())


def inputs(*shape):
    return torch.randn(*shape).float().double()


cases = {}


def case(name, given, **results):
    cases[name] = {"given": [numbers(g) for g in given], **{k: numbers(v) for k, v in results.items()}}


x = inputs(2, 4, 4)
spd = (x @ x.transpose(1, 2) + torch.eye(4)).float().double()
b = inputs(2, 4, 3)
case("cholesky", [spd], lower=torch.linalg.cholesky(spd))
case("cholesky_solve", [spd, b], x=torch.linalg.solve(spd, b))
case("solve", [x, b], x=torch.linalg.solve(x, b), inverse=torch.linalg.inv(x))
lower = torch.tril(x)
case("triangular", [x, b], lower=torch.linalg.solve_triangular(lower, b, upper=False),
     upper=torch.linalg.solve_triangular(torch.triu(x), b, upper=True),
     transposed=torch.linalg.solve_triangular(lower.transpose(1, 2), b, upper=True))
for name, shape in ("tall", (2, 5, 3)), ("wide", (3, 5)), ("square", (4, 4)):
    a = inputs(*shape)
    q, r = torch.linalg.qr(a)
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    case("qr_" + name, [a], q=q, r=r)
    case("svd_" + name, [a], s=s, product=(u * s.unsqueeze(-2)) @ vh)
    case("pinv_" + name, [a], pinv=torch.linalg.pinv(a))
symmetric = x + x.transpose(1, 2)
case("eigh", [symmetric], w=torch.linalg.eigvalsh(symmetric))
a, rhs = inputs(6, 3), inputs(6, 2)
case("lstsq", [a, rhs], x=torch.linalg.lstsq(a, rhs).solution)
print(json.dumps(cases, indent=None, separators=(",", ":")).replace('"},"', '"},\n"').replace('},"', '},\n"'))
