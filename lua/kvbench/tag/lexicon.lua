-- SPDX-License-Identifier: Apache-2.0
-- What a noun asks for or names: the words that the answer-type rules go by. Singular forms; plurals are looked up by
-- taking an "s" off. A word stands in one list only.
local M = {}

local function set(words, tag, into)
  for word in words:gmatch("%S+") do into[word] = tag end
end

--- Nouns that a question asks for ("Which player ...") -> answer type.
M.asked = {}
set([[person man woman boy girl child player footballer athlete coach musician singer composer author writer novelist
  poet painter artist architect engineer scientist researcher physician doctor nurse geologist biologist warden king
  queen prince princess ruler emperor president leader founder creator director producer actor actress character hero
  heroine judge lawyer prosecutor accused defendant witness victim sailor explorer historian archaeologist teacher
  professor student inmate prisoner owner inventor captain manager politician nationalist son daughter father mother
  brother sister wife husband friend official governor mayor minister general soldier priest monk merchant farmer
  designer developer scholar astronomer chemist physicist mathematician drummer guitarist winner successor
  predecessor surname protagonist villain magistrate baker butcher miller widow settler clerk editor guide keeper]], "Person",
  M.asked)
set([[band group club team company firm label studio channel broadcaster network university school college academy
  institute institution organization organisation charity society association council agency committee party
  publisher employer army navy guild union ministry department orchestra choir brand manufacturer bank airline
  foundation newspaper laboratory museum hospital office court]], "Organization", M.asked)
set([[city town village country nation region state province continent district street river sea ocean lake bay
  island mountain valley desert hall theater theatre venue place location landmark building tower bridge prison jail
  site formation harbor port stadium planet capital birthplace hometown water room cave forest temple castle ruin
  kingdom settlement plain plateau coast]], "Location", M.asked)
set([[animal creature species bird fish predator dinosaur insect mammal reptile beast pet companion prey amphibian]],
  "Creature", M.asked)
set([[event celebration festival war battle disaster occasion ceremony trial feast parade tournament accident
  revolution expedition competition holiday ritual incident case]], "Event", M.asked)
set("year date day month decade century time period era birthday", "Date/Time", M.asked)
set([[number amount height age length width weight depth population percentage price cost size distance temperature
  speed total share quantity duration score area]], "Numerals", M.asked)
set([[series album song title nationality award prize object mineral rock genre style material symptom condition
  disease illness treatment book novel film movie job occupation profession instrument food drink language color
  colour kind part goods tool medal trophy single story sport role weapon pastime hobby stone metal crop fruit dish
  theme position trade medicine nickname cause feature topic vaccine test method technique device vehicle ship
  machine item product offense crime charge evidence sentence]], "Thing", M.asked)

--- Last words of names -> answer type.
M.suffix = {}
set([[university college school academy institute institution laboratory laboratories company corporation records
  tapes music studio studios works broadcasting society association league foundation council committee agency
  ministry department office survey navy army guild union club united rovers athletic circle brigade order group
  partners services bank hospital clinic museum press publishing press trust observatory press team orchestra
  ensemble inc ltd gmbh cooperative federation commission bureau authority party court logistics systems industries
  airlines consulting software pharmaceuticals fund house holdings consortium alliance]], "Organization", M.suffix)
set([[river lake mountain mountains bay island islands street avenue tower bridge lighthouse castle palace temple
  church cathedral prison jail penitentiary fortress theater theatre hall casino stadium park square harbor valley
  desert forest sea ocean sound strait coast peninsula falls needles terraces arches columns cliffs traps granary
  arcade aqueduct plateau plain canyon cave monument]], "Location", M.suffix)
set([[festival parade procession war battle games championship cup olympics ceremony feast carnival trials revolution]],
  "Event", M.suffix)

--- Names of animals that occur as answers.
M.animals = {}
set([[ant ape badger bat bear beaver bee beetle bison boar buffalo bull butterfly camel cat cheetah chicken cow
  coyote crab crane crocodile crow deer dog dolphin donkey dragonfly duck eagle eel elephant elk falcon ferret finch
  fish flamingo fox frog gecko giraffe goat goose gorilla grasshopper gull hare hawk hedgehog heron hippopotamus
  horse hyena ibex jackal jaguar kangaroo kingfisher koala lark leopard lion lizard llama lobster lynx magpie manatee
  mantis marten mole mongoose monkey moose mosquito moth mouse newt nightingale octopus orca ostrich otter owl ox
  oyster panda panther parrot partridge peacock pelican penguin pheasant pig pigeon pike pony porcupine puffin quail
  rabbit raccoon ram rat raven rhinoceros robin rooster salamander salmon scorpion seahorse seal shark sheep shrew
  skunk sloth snail snake sparrow spider squid squirrel stag starling stork swallow swan tiger toad tortoise trout
  turkey turtle viper vulture walrus wasp weasel whale wolf wolverine wombat woodpecker worm wren yak zebra]], true, M.animals)

M.months = {}
set("january february march april may june july august september october november december", true, M.months)

--- The word in a list, in its singular too.
function M.find(list, word)
  return list[word] or word:match("s$") and list[word:sub(1, -2)] or word:match("ies$") and list[word:sub(1, -4) .. "y"]
    or nil
end

return M
