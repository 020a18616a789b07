-- SPDX-License-Identifier: Apache-2.0
-- The confirmatory hypotheses: at most twelve, written down after exploring seed A, judged once on seed B with Holm's
-- correction (experiments/confirm.lua). Each names a row of the table that its experiment writes.
--
--   {id =, experiment = script, row = condition in its table, claim =, test =, margin =}
--
-- test: greater (effect > 0), different (effect is not 0), below (effect < margin: equivalence on one side). Change
-- nothing here after seed B was looked at: a new idea is exploratory until there is a seed C.
return {
  { id = "rescue", experiment = "rescue", row = "0.9: V - window", test = "greater",
    claim = "at 0.9, forcing the answer's tokens rescues answers that a random window does not" },
  { id = "rescue-binding", experiment = "rescue", row = "0.9: V+B - V", test = "greater",
    claim = "at 0.9, the binding tokens rescue further answers beside the answer's own" },
  { id = "rescue-heads", experiment = "rescue", row = "0.9: top heads - random heads", test = "greater",
    claim = "at 0.9, the answer in nine heads that look at answers beats it in nine random ones" },
  { id = "copying", experiment = "rescue", row = "0.9: copying index", test = "greater",
    claim = "at 0.9, a lone surviving value is given as the answer to another question" },
  { id = "ablation", experiment = "ablation", row = "matched window - V, mass within x2", test = "greater",
    claim = "at the full cache the answer's tokens are needed more than windows of equal attention" },
  { id = "dose", experiment = "dose", row = "log2 k50(random) - log2 k50(w)", test = "greater",
    claim = "heads ordered by how much they look at answers suffice earlier than random orders" },
  { id = "budgets", experiment = "transplant", row = "0.8: budgets A - B", test = "different",
    claim = "at 0.8, AdaKV(EA)'s head budgets change answers against uniform ones, whoever orders (A: for the worse)" },
  { id = "leak", experiment = "leakage", row = "leak, nats per gold token", test = "greater",
    claim = "later tokens know of the answer when it is evicted after the prefill" },
  { id = "leak-limited", experiment = "leakage", row = "leak - a tenth of full - V evicted, nats per gold token",
    test = "below", margin = 0, claim = "that knowledge is under a tenth of what evicting the answer costs" },
  { id = "layers", experiment = "layers", row = "0.8: KL, uniform - proportional", test = "greater",
    claim = "at 0.8, budgets by the sensitivity of layers beat uniform ones of equal bytes" },
  { id = "induction", experiment = "heads", row = "P(correct), random - induction", test = "greater",
    claim = "induction heads need the passage more than other heads of their layers" },
  { id = "patching", experiment = "patching", row = "restored - control, upper half", test = "greater",
    claim = "in the upper half the full cache's state of the answering row restores more than another question's" },
}
