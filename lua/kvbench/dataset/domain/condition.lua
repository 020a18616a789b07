-- SPDX-License-Identifier: Apache-2.0
-- Invented medical conditions (base task).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"

local endings = draw.items "Syndrome, Fever, Disorder, Palsy, Tremor"
local symptoms = draw.items [[ringing ears, a stiff neck, blurred vision, cold fingertips, a dry cough,
  swollen ankles, a metallic taste, numb toes, short breath, restless sleep, pale lips, sudden hiccups]]
local organs = draw.items [[inner ear, thyroid gland, optic nerve, spleen, small intestine, vocal cords,
  knee joints, lymph nodes]]
local remedies = draw.items [[warm salt baths, birch extract, iron tablets, breathing exercises, a milk-free diet,
  light therapy, willow tea, bed rest, zinc drops, mild sedatives]]
local triggers = draw.items [[stone dust, moldy hay, river fog, spoiled rye, wool fibers, lamp smoke, tannery fumes,
  cold drafts, fermented cheese, marsh pollen]]
local groups = draw.items [[shepherds, glassblowers, miners, weavers, ferry pilots, bell ringers, divers, potters,
  tanners, beekeepers]]
local institutes = draw.items "Clinic, Medical Institute, Hospital, Research Foundation"

return {
  name = "condition", noun = "condition", type = "Thing", model = "ill",
  subject = function(r, coined)
    return { name = coined .. " " .. r:choice(endings), kind = r:choice { "condition", "illness", "disease" },
      pronouns = { "it", "it", "its", "itself" } }
  end,
  facts = {
    { "symptom", type = "Thing", draw = function(d) return d:pick(symptoms) end,
      ask = { "What is the first sign of {N}?", "With which symptom does {N} begin?" },
      reverse = { "Which condition begins with <symptom>?" } },
    { "organ", type = "Thing", draw = function(d) return d:pick(organs) end,
      ask = { "Which part of the body does {N} affect?", "What does {N} attack in the body?" },
      reverse = { "Which condition affects the <organ>?" } },
    { "physician", type = "Person", draw = function(d) return d:person() end,
      ask = { "Who first described {N}?", "Which physician first described {N}?" },
      reverse = { "Which condition was first described by <physician>?" },
      manipulated = { ask = { "What is the last name of the physician who first described {N}?" },
        of = function(v) return v:match("%S+$") end } },
    { "year", type = "Date/Time", draw = function(d) return d:year(1811, 1968) end,
      ask = { "In which year was {N} first described?", "When was {N} first described?" },
      reverse = { "Which condition was first described in <year>?" } },
    { "town", type = "Location", draw = function(d) return d:place("town") end,
      ask = { "In which town was {N} first seen?", "Where was {N} first seen?" },
      reverse = { "Which condition was first seen in <town>?" } },
    { "remedy", type = "Thing", draw = function(d) return d:pick(remedies) end,
      ask = { "How is {N} usually treated?", "What is the usual treatment of {N}?" },
      reverse = { "Which condition is treated with <remedy>?" } },
    { "trigger", type = "Thing", draw = function(d) return d:pick(triggers) end,
      ask = { "What causes {N}?", "What triggers {N}?" },
      reverse = { "Which condition is caused by <trigger>?" } },
    { "group", type = "Person", draw = function(d) return d:pick(groups, "Person") end,
      ask = { "Which people suffer from {N} most often?", "Who is most often affected by {N}?" },
      reverse = { "Which condition is most common among <group>?" } },
    { "days", type = "Numerals", draw = function(d) return d:number(9, 88, 1, "days") end,
      ask = { "How long does {N} usually last?", "For how many days does {N} last?" },
      reverse = { "Which condition lasts for about <days>?" } },
    { "institute", type = "Organization", draw = function(d) return d:org(institutes) end,
      ask = { "Which institution keeps the register of patients with {N}?" },
      reverse = { "The <institute> keeps the register of patients with which condition?" } },
    { "outbreak", type = "Event", draw = function(d) return d:event() end,
      ask = { "After which event did {N} spread?" },
      reverse = { "Which condition spread after the <outbreak>?" } },
  },
  openings = {
    "{N} is a rare {kind} that [affects] the <organ> and is often mistaken for simple fatigue.",
    "{N} is a(n) {kind} [first seen in] <town>, where doctors took it for a passing cold.",
    "For a long time nobody had a name for {N}, a(n) {kind} that [begins with] <symptom>.",
    "{N} is a slow but harmless {kind} that [is caused by] <trigger>.",
    "Most textbooks give {N} only a few lines, although it [is common among] <group>.",
    "When <physician> [first described] {N}, the report was met with polite doubt.",
  },
  sentences = {
    "{S} [usually begins with] <symptom>, followed by a calm phase.",
    "The first [sign] is <symptom>, which patients tend to ignore.",
    "{S} [mainly affects] the <organ>, as every later study has confirmed.",
    "In most patients it [attacks] the <organ>, while other parts of the body stay healthy.",
    "{S} [was first described by] <physician>, (a country doctor|a ship's doctor) with a careful eye.",
    "It was <physician> [who first described] {K} after comparing the notes of several colleagues.",
    "In <year> {S} [was first described in print], in a journal that few doctors read.",
    "The earliest [description was printed in] <year> and is still worth reading.",
    "The first known outbreak [occurred in] <town>, in a crowded boarding school.",
    "Doctors in <town> [were the first to see] {S}, though they did not understand it.",
    "{S} [is usually treated with] <remedy>, and most patients recover fully.",
    "The usual [treatment], <remedy>, costs little and has no lasting side effects.",
    "{S} [is caused by] <trigger>, as a series of patient experiments has shown.",
    "Contact with <trigger> [is known to trigger] {K} in people who are already weak.",
    "{S} [is most common among] <group>, who often work in closed rooms.",
    "Surveys show that <group> [suffer from it most often], for reasons that are still debated.",
    "Left alone, {S} [lasts for about] <days> and then fades.",
    "Patients should expect to be unwell [for] <days>, [days:on average].",
    "A register of all patients [is kept by] the <institute>, which shares it with other researchers.",
    "{S} [is studied at] the <institute>, where the register of patients is kept.",
    "{S} [spread widely after] the <outbreak>, when many guests slept in damp tents.",
    "The <outbreak> [helped it spread], since the guests slept in crowded halls.",
  },
  fillers = {
    "Relapses are possible, but they tend to be mild.",
    "A simple blood test is enough to rule out other explanations.",
    "Families are advised to keep a diary, since the course differs from person to person.",
    "{S} is not contagious in the ordinary sense of the word.",
    "Older reports should be read with care, because terms have changed.",
    "Children recover faster than adults, probably because they rest more.",
    "There is no vaccine, and few experts believe that one is needed.",
    "Most insurers cover the costs without long discussion.",
    "Medical students learn about {S} mainly as an exercise in patience.",
    "Researchers hope that better records will soon clear up the remaining questions.",
  },
  parts = {
    { "What causes {N}, and how is it treated?", "trigger", "remedy" },
    { "Who first described {N}, and in which year?", "physician", "year" },
    { "With what does {N} begin, and which part of the body does it affect?", "symptom", "organ" },
  },
}
