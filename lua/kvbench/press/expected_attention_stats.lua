-- SPDX-License-Identifier: Apache-2.0
-- Expected attention with the queries' mean and covariance of a calibration corpus instead of the context's own:
-- nothing needs to be observed, and a short context does not have to estimate a covariance.
local artefact = require "kvbench.artefact"
local find = require "kvbench.press_find"
local layer_part = require "kvbench.layer_part"

local base = find.find "expected_attention"

local function loaded(self, ctx)
  return ctx:once("query statistics", function()
    local path = artefact.find(self, ctx, { file = "model.safetensors", what = "query statistics",
      how = "kvbench scripts/calibrate.lua --model MODEL makes them; published ones: alessiodevoto/exp_att_stats_* on "
        .. "Hugging Face" })
    local layers, d = ctx.model and ctx.model.layers or -1, ctx.head_dim
    return artefact.tensors(self, path, { query_mean = { layers, ctx.heads, d }, query_cov = { layers, ctx.heads, d,
      d } })
  end)
end

local params = { stats_folder = { kind = "string", optional = true,
  doc = "folder of query_mean [layers, heads, d] and query_cov [layers, heads, d, d], or that safetensors file" } }
for name, declaration in pairs(base.params) do params[name] = declaration end

return {
  name = "expected_attention_stats",
  paper = base.paper,
  doc = "Expected attention with query statistics of other texts, read from a file.",
  formula = "as expected_attention, m and C from the file",
  extends = "expected_attention",
  params = params,
  score = base.score,
  statistics = function(self, ctx)
    local stats = loaded(self, ctx)
    local mean = layer_part.rows(ctx, stats.query_mean)
    return mean, self.use_covariance and layer_part.rows(ctx, stats.query_cov) or nil
  end,
}
