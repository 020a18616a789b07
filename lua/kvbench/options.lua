-- SPDX-License-Identifier: Apache-2.0
-- The options given to kvbench itself (before the script), for the modules that need a default: device, dtype, threads,
-- seed, strict, sandbox, trust. Set once by cli.lua; nil means "not given", so that a script's own value wins.
return { device = nil, dtype = nil, threads = nil, seed = nil, strict = false, sandbox = false, trust = false }
