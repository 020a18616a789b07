-- SPDX-License-Identifier: Apache-2.0
-- One HTML file of what experiments left behind: verdicts first, then every figure with its caption, its tables, what
-- could not be told, and where the numbers come from. Pictures are inside (SVG as data), nothing is asked of the
-- network, no script runs: the file can be mailed, archived and opened in ten years.
local library = require "kvbench.ffi"
local json = require "kvbench.json"
local bit = require "bit"
local ffi = require "ffi"
local C, check = library.C, library.check

local M = {}

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Base 64 with padding (RFC 4648).
function M.base64(data)
  local n = #data
  local out, at = ffi.new("char[?]", math.max(1, math.ceil(n / 3) * 4)), 0
  for i = 1, n, 3 do
    local a, b, c = data:byte(i, i + 2)
    local v = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 0, 3 do
      local digit = bit.band(bit.rshift(v, 18 - 6 * k), 63)
      out[at + k] = (k == 2 and not b or k == 3 and not c) and 61 or ALPHABET:byte(digit + 1)
    end
    at = at + 4
  end
  return ffi.string(out, at)
end

local function esc(text)
  return (tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local STYLE = [[
:root{--ink:#1f2328;--soft:#59636e;--line:#d8dee4;--paper:#fff;--tint:#f6f8fa}
*{box-sizing:border-box}body{margin:0;color:var(--ink);background:var(--paper);font:16px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem}h1{font-size:1.7rem;margin:.2rem 0}h2{font-size:1.3rem;margin:3rem 0
.3rem;padding-top:1rem;border-top:1px solid var(--line)}h3{font-size:1rem;margin:1.5rem 0 .3rem}p{margin:.4rem 0}
.soft,figcaption{color:var(--soft);font-size:.88rem}pre{white-space:pre-wrap;background:var(--tint);padding:.7rem;
border-radius:6px;font-size:.85rem}figure{margin:1.2rem 0}figure img{max-width:100%;height:auto;display:block}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}td,th{padding:.2rem .6rem;
text-align:left;border-bottom:1px solid var(--line);vertical-align:top}th{background:var(--tint)}td.n{text-align:right}
.wide{overflow-x:auto}.v{display:inline-block;padding:0 .5rem;border-radius:1rem;font-size:.8rem;white-space:nowrap;
border:1px solid currentColor}.v-supported{color:#116329}.v-not{color:#a40e26}.v-cannot,.v-failed{color:#7d4e00}
.v-exploratory{color:#0550ae}summary{cursor:pointer;margin:.6rem 0}a{color:#0550ae}
@media print{details{display:block}}
]]

local function badge(status)
  return ('<span class="v v-%s">%s</span>'):format(esc(status:match "^%a+"), esc(status))
end

local function table_html(cells)
  local out = { '<div class="wide"><table>' }
  for r, row in ipairs(cells) do
    local line = {}
    for i, cell in ipairs(row) do
      local numeric = r > 1 and tostring(cell):find "^[-+]?%.?%d" and ' class="n"' or ""
      line[i] = r == 1 and ("<th>%s</th>"):format(esc(cell)) or ("<td%s>%s</td>"):format(numeric, esc(cell))
    end
    out[#out + 1] = "<tr>" .. table.concat(line) .. "</tr>"
  end
  out[#out + 1] = "</table></div>"
  return table.concat(out, "\n")
end

local function figure_html(figure)
  local svg, png = figure.bare, nil
  for _, file in ipairs(figure.files) do
    if file:find "%.svg$" then svg = svg or file elseif file:find "%.png$" then png = file end
  end
  local kind, data = "svg+xml", svg and read(svg)
  if not data then kind, data = "png", png and read(png) end
  local title = esc(figure.title or figure.name)
  if not data then return ('<p class="soft">%s: its file is gone (%s)</p>'):format(title, esc(svg or png or "none")) end
  return ('<figure><img alt="%s" src="data:image/%s;base64,%s">\n<figcaption>%s</figcaption></figure>'):format(title,
    kind, M.base64(data), esc(figure.caption or ""))
end

local function section(r)
  local out = { ('<h2 id="%s">%s</h2>'):format(esc(r.experiment), esc(r.title or r.experiment)) }
  local function add(format, ...) out[#out + 1] = format:format(...) end
  add('<p class="soft">experiments/%s.lua%s</p>', esc(r.experiment), r.paper and "; paper: " .. esc(r.paper) or "")
  if r.failed then
    add("<p>%s</p><pre>%s</pre>", badge "failed", esc(r.failed))
    return table.concat(out, "\n")
  end
  if r.question then add("<pre>%s</pre>", esc(r.question)) end
  for _, v in ipairs(r.verdicts or {}) do add("<p>%s %s</p>", badge(v.status), esc(v.text)) end
  for _, figure in ipairs(r.figures or {}) do out[#out + 1] = figure_html(figure) end
  for _, list in ipairs(r.tables or {}) do
    add("<details%s><summary>%s</summary>", #list.cells <= 12 and " open" or "", esc(list.caption or list.name))
    out[#out + 1] = table_html(list.cells) .. "</details>"
  end
  for _, note in ipairs(r.notes or {}) do add('<p class="soft">%s</p>', esc(note)) end
  local p, cells = r.provenance or {}, { { "what", "value" } }
  for _, name in ipairs { "model", "model_hash", "dtype", "device", "tier", "version", "revision" } do
    if p[name] ~= nil then cells[#cells + 1] = { name:gsub("_", " "), tostring(p[name]) } end
  end
  for _, sweep in ipairs(r.sweeps or {}) do
    cells[#cells + 1] = { "rows", ("%s: %d rows, %s, dataset hash %s"):format(sweep.folder, sweep.rows,
      sweep.dataset, tostring(sweep.dataset_hash):sub(1, 12)) }
  end
  for _, figure in ipairs(r.figures or {}) do
    cells[#cells + 1] = { "files", table.concat(figure.files, ", ") }
  end
  add("<details><summary>Where the numbers come from (%.0f s%s)</summary>%s</details>", r.seconds or 0,
    r.cpu and (", %.0f s of CPU"):format(r.cpu) or "", table_html(cells))
  return table.concat(out, "\n")
end

--- The result.json of a folder as a table, or nil.
function M.read(folder)
  local text = read(folder .. "/result.json")
  return text and json.decode(text, folder .. "/result.json")
end

--- Writes the report: results = list of what M.read returns (or {experiment =, failed = why}), in order; o: title,
-- seconds, command. Returns the path.
function M.write(path, results, o)
  o = o or {}
  local out = { "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width,initial-scale=1">', "<title>" .. esc(o.title or "kvbench report")
    .. "</title>", "<style>" .. STYLE .. "</style></head><body><main>", "<h1>" .. esc(o.title or "kvbench report")
    .. "</h1>" }
  local cells, figures = {}, 0
  for _, r in ipairs(results) do
    local first = true
    for _, v in ipairs(r.failed and { { status = "failed", text = r.failed } } or r.verdicts or {}) do
      cells[#cells + 1] = ('<tr><td>%s</td><td>%s</td><td>%s</td></tr>'):format(first
        and ('<a href="#%s">%s</a>'):format(esc(r.experiment), esc(r.title or r.experiment)) or "", badge(v.status),
        esc(v.text))
      first = false
    end
    figures = figures + #(r.figures or {})
  end
  local p = results[1] and results[1].provenance or {}
  out[#out + 1] = ('<p class="soft">%s, kvbench %s (%s); %d experiments, %d figures%s%s</p>'):format(esc(p.model
    or "?"),
    esc(p.version or "?"), esc(p.revision or "?"), #results, figures, o.seconds
    and (", %.1f minutes"):format(o.seconds / 60) or "", o.command and "; made by " .. esc(o.command) or "")
  out[#out + 1] = "<p>Supported and not supported are said of the named model and data only. Cannot tell: the data do "
    .. "not allow an answer, and the line says why. Exploratory: nothing was claimed beforehand.</p>"
  out[#out + 1] = '<div class="wide"><table><tr><th>experiment</th><th>verdict</th><th>what the numbers say</th></tr>'
  out[#out + 1] = table.concat(cells, "\n") .. "</table></div>"
  for _, r in ipairs(results) do out[#out + 1] = section(r) end
  out[#out + 1] = "</main></body></html>\n"
  local html = table.concat(out, "\n")
  check(C.kvb_file_write(path, html, #html))
  return path
end

return M
