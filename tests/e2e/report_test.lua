-- SPDX-License-Identifier: Apache-2.0
-- The report is one file that asks nothing of the network, and a real browser shows its pictures. Skips the browser
-- where there is none (KVBENCH_BROWSER, chromium, chromium-browser, google-chrome).
local kv = require "kvbench"
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local report = require "kvbench.experiment.report"
local t = require "kvbench.testing"

local folder = process.folder
local function figure(name)
  local files = kv.plot.small_multiples { panels = {
    { title = name, x = { label = "x" }, y = { label = "y" }, series = { { label = "a", x = { 0, 1 }, y = { 0,
      1 } } } },
    kv.experiment.note("empty", "nothing there") }, caption = "A caption with <angles> & more" }:save(folder .. "/"
      .. name)
  return { name = name, title = name, caption = "A caption with <angles> & more", files = files }
end
local results = {
  { experiment = "first", title = "The first", paper = "figure 1", question = "Is it so?", seconds = 1.5,
    figures = { figure "one", figure "two" }, notes = { "F1: cannot tell: floor" },
    tables = { { name = "numbers", caption = "Numbers", cells = { { "press", "value" }, { "ea", "0.5" } } } },
    verdicts = { { status = "not supported", text = "an effect: 0.1 [-0.1, 0.3]" } },
    sweeps = { { folder = "out/sweeps/x", rows = 3, dataset = "base", dataset_hash = "abcdef0123456789" } },
    provenance = { model = "tiny", version = "1", revision = "abc" } },
  { experiment = "second", failed = "press 'x' <is> unknown" },
  { experiment = "third", figures = { { name = "lost", title = "lost", files = { folder .. "/lost.svg" } } } },
}
local path = report.write(folder .. "/report.html", results, { seconds = 90, command = "kvbench experiments/all.lua" })
local file = assert(io.open(path, "rb"))
local html = file:read "*a"
file:close()

t.case("a caption is text of the page, not also of the picture", function()
  local f = kv.plot.lines { title = "t", caption = "said once",
    series = { { label = "a", x = { 0, 1 }, y = { 0, 1 } } },
    x = { label = "x" }, y = { label = "y" } }
  local with, bare = f:draw(), f:draw { caption = false }
  t.ok(bare.height < with.height and bare.width == with.width)
  local pictures = { plain = folder .. "/plain.svg", captioned = folder .. "/captioned.svg" }
  bare:save(pictures.plain)
  with:save(pictures.captioned)
  local where = report.write(folder .. "/bare.html", { { experiment = "x", figures = { { name = "f", title = "t",
    caption = "said once", files = { pictures.captioned }, bare = pictures.plain } } } })
  local page = assert(io.open(where, "rb"))
  local text = page:read "*a"
  page:close()
  local picture = assert(io.open(pictures.plain, "rb"))
  t.ok(text:find(report.base64(picture:read "*a"), 1, true))
  picture:close()
  t.eq(select(2, text:gsub("said once", "")), 1)
end)

t.case("base 64", function()
  for text, code in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
    ["\255\254"] = "//4=" } do
    t.eq(report.base64(text), code)
  end
end)

t.case("one file: nothing is loaded from elsewhere, no script", function()
  for _, attribute in ipairs { "src", "href" } do
    for target in html:gmatch(attribute .. '="([^"]*)"') do
      t.ok(target:find "^data:" or target:find "^#", attribute .. " = " .. target:sub(1, 60))
    end
  end
  t.ok(not html:find "url%(" and not html:find "@import" and not html:find "<script")
end)

t.case("it says what was found, what failed and what is missing", function()
  for _, text in ipairs { "not supported", "an effect: 0.1 [-0.1, 0.3]", "A caption with &lt;angles&gt; &amp; more",
    "press 'x' &lt;is&gt; unknown", "F1: cannot tell: floor", "its file is gone", "abcdef012345", "1.5 minutes" } do
    t.ok(html:find(text, 1, true), text)
  end
end)

local browser
for _, name in ipairs { os.getenv "KVBENCH_BROWSER" or "chromium", "chromium", "chromium-browser", "google-chrome" } do
  browser = browser or process.shell("command -v " .. name).out:match "[^\n]+"
end
if not browser then
  t.skip("a browser shows the report", "no chromium here: install one, or set KVBENCH_BROWSER")
else
  local flags = " --headless --no-sandbox --disable-gpu --hide-scrollbars --host-resolver-rules='MAP * ~NOTFOUND'"
    .. " --user-data-dir=profile --virtual-time-budget=5000 "
  t.case("a browser shows the report", function()
    -- a copy that counts its own pictures: those with a size were decoded
    process.write("counted.html", (html:gsub("</main>", function()
      return "<p id=count></p><script>onload=()=>{count.textContent='shown "
        .. "'+[...document.images].filter(i=>i.complete&&"
        .. "i.naturalWidth>50).length+' of '+document.images.length}</script></main>"
    end)))
    local dom = process.shell("timeout 100 " .. browser .. flags .. "--dump-dom file://$PWD/counted.html")
    t.ok(dom.out:find("shown 2 of 2", 1, true), dom.out:match "shown[^<]*" or dom.err:sub(1, 300))
    local shot = process.shell("timeout 100 " .. browser .. flags .. "--window-size=1000,1600 --screenshot=page.png "
      .. "file://$PWD/report.html; wc -c < page.png")
    t.ok((tonumber(shot.out:match "%d+") or 0) > 20000, "the screenshot has " .. shot.out .. " bytes")
  end)
end

process.done()
