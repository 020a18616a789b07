# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/tensor.json: small inputs and what torch makes of them, in double, for tests/lua/linalg_test.lua
and tests/lua/tensor_torch_test.lua. Indices in it count from 0, as torch counts.

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

# -- what is not linear algebra: name, inputs, result (booleans as 1 and 0; tests/lua/tensor_torch_test.lua has the
# calls) --
F = torch.nn.functional


def call(name, given, out):
    case(name, given, out=out.double() if torch.is_tensor(out) else torch.stack(tuple(out)).double())


a, b3, m = inputs(3, 4), inputs(2, 3, 4), inputs(3, 4) > 0
ties = torch.tensor([[3.0, 1, 3, -0.0, 2, 1], [0, -0.0, -1, 5, 5, 0]]).double()
index = torch.tensor([[2, 0, 2], [1, 1, 0]])
rows, odd = inputs(2, 5), torch.tensor([-2.5, -1.5, -0.5, 0.0, 0.4, 0.5, 1.5, 2.5]).double()
call("add", [a, rows[:1, :4]], a + rows[:1, :4])
call("pow", [a.abs(), a], a.abs() ** a)
call("where", [m.double(), a], torch.where(m, a, torch.tensor(-2.0).double()))
call("logical_and", [m.double(), a], torch.logical_and(m, a))
for name in "exp abs tanh sigmoid floor ceil round erf relu square sign cos sin".split():
    call(name, [odd], getattr(torch, name)(odd))
for name in "log sqrt rsqrt reciprocal".split():
    call(name, [odd.abs() + 0.25], getattr(torch, name)(odd.abs() + 0.25))
call("silu", [odd], F.silu(odd))
call("gelu", [odd], F.gelu(odd))
call("clamp", [odd], odd.clamp(-1, 0.45))
for name in "sum mean prod var std logsumexp amin amax".split():
    call(name, [b3], getattr(torch, name)(b3, 1))
call("sum_list", [b3], b3.sum((0, 2)))
call("mean_list_keep", [b3], b3.mean((0, 2), keepdim=True))
call("var_keep", [b3], b3.var(-1, correction=0, keepdim=True))
call("norm", [b3], b3.norm(dim=-1))
call("norm1", [b3], b3.norm(p=1, dim=0))
call("norm_inf", [b3], b3.norm(p=float("inf"), dim=1))
call("argmax", [ties], ties.argmax(1))
call("argmin", [ties], ties.argmin(1))
call("all", [ties], ties.all(1))
call("any", [ties * 0 + torch.eye(2, 6)], (ties * 0 + torch.eye(2, 6)).any(0))
call("softmax", [b3], b3.softmax(1))
call("log_softmax", [b3 * 50], (b3 * 50).log_softmax(-1))
call("cumsum", [b3], b3.cumsum(1))
call("argsort", [ties], ties.argsort(dim=1, stable=True))
call("argsort_down", [ties], ties.argsort(dim=1, descending=True, stable=True))
call("sort_first", [b3], b3.sort(0).values)
call("topk", [a], a.topk(2).values)
call("topk_smallest", [a], a.topk(2, largest=False).values)
call("median", [rows], rows.median(1).values)
call("kthvalue", [rows], rows.kthvalue(2, 1).values)
call("gather", [a, index.double()], a.gather(1, index))
call("scatter", [a, index.double(), b3[0]], a.scatter(1, torch.tensor([[2, 0, 1], [1, 3, 0]]), b3[0]))
call("scatter_add", [a, index.double(), b3[0]], a.scatter_add(1, index, b3[0]))
call("scatter_amax", [a, index.double(), b3[0]], a.scatter_reduce(1, index, b3[0], "amax"))
call("index_select", [a], a.index_select(1, torch.tensor([3, 0, 3])))
call("nonzero", [m.double()], m.nonzero())
call("masked_select", [a, m.double()], a.masked_select(m))
call("masked_fill", [a, m.double()], a.masked_fill(m, 9))
call("slice", [b3], b3[1, :, 1:4:2])
call("pad", [b3], F.pad(b3, (1, 2, 0, 1), value=7))
call("tile", [a], a.tile(2, 1, 3))
call("repeat_interleave", [a], a.repeat_interleave(3, 0))
call("repeat_counts", [a], a.repeat_interleave(torch.tensor([1, 0, 2, 1]), 1))
call("flip", [b3], b3.flip(0, 2))
call("roll", [a], a.roll(-3, 1))
call("roll_far", [a], a.roll(7, 0))
call("triu", [b3], b3.triu(1))
call("tril", [b3], b3.tril(-1))
call("diag_embed", [a], torch.diag_embed(a, 1))
call("diagonal", [b3], b3.diagonal(-1, 1, 2))
call("unfold", [rows], rows.unfold(1, 3, 2))
call("chunk", [rows], rows.chunk(2, 1)[1])
call("split", [rows], rows.split([1, 4], 1)[1])
call("movedim", [b3], b3.movedim(0, 2))
call("matmul_vector", [b3, a[0]], b3 @ a[0])
call("vector_matmul", [a[:, 0], b3], a[:, 0] @ b3)
call("bmm", [b3, b3.transpose(1, 2)], b3.bmm(b3.transpose(1, 2)))
call("outer", [a[0], rows[0]], a[0].outer(rows[0]))
signal, weight, bias = inputs(2, 4, 9), inputs(6, 2, 3), inputs(6)
call("conv1d", [signal, weight, bias], F.conv1d(signal, weight, bias, stride=2, padding=2, dilation=2, groups=2))
call("conv1d_plain", [signal[0], weight[:, :, :2].repeat(1, 2, 1)],
    F.conv1d(signal[0], weight[:, :, :2].repeat(1, 2, 1)))
call("avg_pool1d", [signal], F.avg_pool1d(signal, 4, 3, 2))
call("max_pool1d", [signal], F.max_pool1d(signal, 3, 1, 1))
print(json.dumps(cases, indent=None, allow_nan=False, separators=(",", ":")).replace('"},"', '"},\n"').replace('},"',
    '},\n"'))
