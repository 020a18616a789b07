-- SPDX-License-Identifier: Apache-2.0
-- Q-Filters: the direction that all queries of a head share, found once per model. Files hold it with the sign of the
-- published ones: large keys along it are the ones to evict.
local artefact = require "kvbench.artefact"
local layer_part = require "kvbench.layer_part"

return {
  name = "qfilter",
  paper = "arXiv:2503.02812",
  doc = "Keeps keys by their projection on the main direction of the head's queries, found once per model.",
  formula = "-f . k_j, f the filter of the KV head",
  params = { path = { kind = "string", optional = true,
    doc = "safetensors with q_filters [layers, kv_heads, head_dim]" } },
  score = function(self, ctx)
    local filters = ctx:once("q_filters", function()
      local path = artefact.find(self, ctx, { file = "model.safetensors", what = "filters",
        how = "kvbench scripts/calibrate.lua --model MODEL makes them; published ones: nthngdy/MODEL_qfilt on Hugging "
          .. "Face" })
      local layers = ctx.model and ctx.model.layers or -1
      return artefact.tensors(self, path, { q_filters = { layers, ctx.kv_heads, ctx.head_dim } }).q_filters
    end)
    return -ctx.keys:vecdot(layer_part.rows(ctx, filters):unsqueeze(3))
  end,
}
