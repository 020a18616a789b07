-- SPDX-License-Identifier: Apache-2.0
-- Invented names from syllable models, one model per flavour, and a permutation that hands out names without repeats.
-- A record must depend on its seed and index alone (so that a small set is a prefix of the big one), which rules out
-- "draw until unused": instead index i takes element (a*i + b) mod space, with a coprime to the space.
local rng = require "kvbench.rng"

local M = {}

local function list(s)
  local t = {}
  for word in s:gmatch("%S+") do t[#t + 1] = word end
  return t
end
M.list = list

-- Each model: three parts written one after another.
M.models = {
  town = { list [[Os Mir Kel Tav Bren Dor Vel Hask Quen Orr Pell Sarn Thil Umber Vask Wex Yar Zell Corv Drel Fenn
    Gar Jast Lun]],
    list "a e i o u ari eno ila ora umi", list [[trel mond vesk lo strand brix dell rane thal quin sund vane gast
      more]] },
  land = { list "Aur Bel Cad Dran Ess Fal Gor Hev Ist Jor Kal Lor Mav Nor Oth Prav Rul Sev Tor Urs Vor Zan",
    list "a e i o u ava eri ola ume", list "dria ssia ntis lund vara shire moor llan queth ria stan via" },
  ancient = { list "Teo Itz Qal Ulk Sar Nin Ash Tel Kah Bab Eri Lag Mor Nip Our Pal Qua Ras Tik Zab",
    list "ti la ru ka mo sha ze nu pa hi", list "lac qatl duun bash meth ruk stai vesh tun goth zar" },
  beast = { list [[Thran Sker Mol Grav Vex Dusk Brakk Cinder Fern Glim Hollow Karst Loam Murk Ripple Sable Thorn
    Umbra Whisp]],
    list "a o i u e", list "saur don raptor gill back mantis fang strider wing tail crest jaw" },
  ill = { list "Brel Cor Dav Ess Fen Gall Hes Ith Jor Kess Lam Morv Nell Orth Pell Quil Rast Sel Torv Ulm",
    list "a e i o ari ora ine", list "veth lunde mark strom quist dahl brun zell gard wick" },
  anime = { list "Aka Hoshi Kage Miza Nori Raka Shiro Tsuka Yume Zen Haru Kiri Mido Sora",
    list "ba ko no ra mi to ri shi", list "gami roku zan maru tsuki hara shin kaze" },
  org = { list "Kelm Brax Dalv Orin Tess Vand Welk Hald Corm Pryd Lask Nerr Stov Umb Zarn Ferr",
    list "o a i e u", list "ra ven lis than dor mont quay sett bury nell" },
  surname = { list [[Far Elv Hask Tor Bram Quel Dras Vint Morr Sten Ald Corb Wex Jast Lind Pry Osk Yar Thal Grev Hol
    Mar Nol Rusk]],
    list "a e i o en ar el", list "dane lock wyn sey brant mond quist thorn ville stad vik rowe lane field" },
}

--- Number of names of a model.
function M.space(model)
  local m = M.models[model]
  return #m[1] * #m[2] * #m[3]
end

--- The name number `index` (0-based, taken modulo the space) of a model.
function M.nth(model, index)
  local m = M.models[model]
  index = index % M.space(model)
  local a = index % #m[1]
  local b = math.floor(index / #m[1]) % #m[2]
  local c = math.floor(index / (#m[1] * #m[2]))
  return m[1][a + 1] .. m[2][b + 1] .. m[3][c + 1]
end

local function gcd(a, b) while b ~= 0 do a, b = b, a % b end return a end

local walks = {}

--- Element number i (1-based) of a seeded walk through 0..space-1 that visits each once before it repeats any.
function M.walk(seed, name, space, i)
  local key = seed .. "/" .. name .. "/" .. space
  local w = walks[key]
  if not w then
    local r = rng.new("kvbench/walk/" .. key)
    w = { step = r:int(math.floor(space * 0.3), math.floor(space * 0.7)), first = r:int(0, space - 1) }
    while gcd(w.step, space) ~= 1 do w.step = w.step + 1 end
    walks[key] = w
  end
  return (w.first + w.step * (i - 1)) % space
end

-- Given names, rare enough that with a coined surname they belong to nobody known.
M.female = list [[Nyla Lyra Cora Xena Maren Isolde Tamsin Odette Elowen Briony Saskia Thea Zelda Petra Ingrid Linnea
  Calla Dahlia Esme Freya Gwenda Hestia Imara Juna Keziah Leonie Mirela Nerys Ottilie Philippa Rosalind Sunniva
  Tindra Ulrika Vesna Wilhelmina Yara Zadie Anneke Beatrix Celestine Delphine Eudora Fenella Ginevra Halina Ilse
  Jessamy Katya Lucinda]]
M.male = list [[Rhett Quill Alaric Bastian Cedric Dorian Evander Fabian Gideon Hadrian Ivo Jasper Kelvin Lazlo
  Magnus Nestor Orson Piers Quentin Rufus Silas Thaddeus Ulric Viggo Wendell Xavier Yorick Zoltan Ansel Blaise
  Caspian Desmond Emeric Florian Garrick Horatio Ignace Jorah Killian Leander Mortimer Niall Osric Percival Roderick
  Sterling Tobias Upton Valentin Warrick]]

--- A coined name of a model, drawn from stream r.
function M.coin(r, model) return M.nth(model, r:int(0, M.space(model) - 1)) end

--- A person: given name (sex "f", "m" or drawn) and coined surname; returns the full name, the parts and the sex.
function M.person(r, sex)
  sex = sex or (r:uniform() < 0.5 and "f" or "m")
  local first = r:choice(sex == "f" and M.female or M.male)
  local last = M.coin(r, "surname")
  return first .. " " .. last, first, last, sex
end

return M
