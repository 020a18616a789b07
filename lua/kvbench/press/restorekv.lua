-- SPDX-License-Identifier: Apache-2.0
-- RestoreKV spends part of KVzip's budget on restore tokens: trained embeddings that read the whole cache once through
-- LoRA-adapted weights, and whose keys and values stay. That pass needs weights that change for one prefill, which the
-- engine does not have; so the published files are found and checked here, and then the rule says that it stops. What it
-- evicts with, KVzip's scores, is `kvzip` (`kvzip_plus` for the plus variant).
local artefact = require "kvbench.artefact"

return {
  name = "restorekv",
  paper = "arXiv:2608.01247",
  doc = "KVzip beside trained restore tokens: checks their files, then stops, since the LoRA pass is not here.",
  params = {
    kvzip_plus_normalization = { default = false, doc = "the variant trained for KVzip+ scores" },
    path = { kind = "string", optional = true, doc = "restore_embeddings.safetensors, or the folder of the adapter" },
  },
  aliases = { RestoreKV = {}, restorekv_plus = { kvzip_plus_normalization = true },
    RestoreKV_plus = { kvzip_plus_normalization = true } },
  scope = "model",
  budget = "approx",
  score = function(self, ctx)
    local plus = self.kvzip_plus_normalization and "_plus" or ""
    local path = artefact.find(self, ctx, { file = "restore_embeddings.safetensors", what = "restore embeddings",
      how = "published for Llama-3.1-8B-Instruct and Qwen3-8B: higokri/RestoreKV-MODEL" .. plus .. " on Hugging Face" })
    local read = artefact.tensors(self, path, { restore_embeddings = { -1, ctx:weight("o", ctx.layer_first):size(1) } })
    error(("press '%s': the %d restore tokens of '%s' fit this model, but the LoRA pass that gives them keys and values "
      .. "is not here -> kvzip%s evicts by the same scores without them"):format(self.name,
      read.restore_embeddings:size(1), path, plus), 0)
  end,
}
