-- SPDX-License-Identifier: Apache-2.0
-- How the entities of a long passage hang together: subject -> work -> person -> place or institution. A link is a
-- relation whose value is another entity; `down` and `up` are the noun phrases that walk it in either direction, from
-- which questions over several steps are put together ("the home town of the author of the book about Teotilac").
--
-- Sentences about the subject use {S} away from the verb, so that they agree with names in the plural as well.
local M = {}

--- From the subject of the passage; {noun} is its kind ("city"), in the plural for names in the plural.
M.subject = {
  { "book", to = "book", ask = { "Which book is about {N}?", "What is the title of the book about {N}?" },
    reverse = { "About which {noun} was <book> written?", "Of which {noun} does <book> tell?" },
    down = "the book about {X}", up = "the {noun} described in {X}",
    sentences = {
      "The fullest account of {S} [is to be found in] <book>, (a volume that has gone through several printings|on "
        .. "which all later writers have drawn).",
      "Readers who want to know more about {S} [usually turn to] <book>, (still the standard work|the best of a short "
        .. "list).",
      "A whole volume, <book>, [has been written about] {S}, and (few doubt that it will last|it reads like a novel).",
      "Much of what is said here about {S} [comes from] <book>, the only long work on the matter.",
    } },
  { "film", to = "film", ask = { "Which film is about {N}?", "What is the title of the film about {N}?" },
    reverse = { "Which {noun} does <film> show?", "About which {noun} was <film> made?" },
    down = "the film about {X}", up = "the {noun} shown in {X}",
    sentences = {
      "Many people know {S} only [from] <film>, (a documentary that schools still show|a slow and careful "
        .. "documentary).",
      "A documentary, <film>, [has made] {S} [film:known] to people (who never read|far beyond the region).",
      "No moving pictures of {S} existed [until] <film>, (a documentary shot on a tiny budget|a work of real "
        .. "patience).",
      "Public interest in {S} [grew with] <film>, a documentary (made almost by accident|that hardly anyone had wanted "
        .. "to finance).",
    } },
  { "project", to = "project", ask = { "Which project studies {N}?", "What is the name of the project about {N}?" },
    reverse = { "Which {noun} does the <project> study?", "On which {noun} does the <project> collect material?" },
    down = "the project that studies {X}", up = "the {noun} studied by {X}",
    sentences = {
      "Systematic [study of] {S} is the business of <project>, (which leaves nothing to chance|a long and "
        .. "patient effort).",
      "Documents about {S} [are collected by] <project>, (which also records what old people remember|page by page).",
      "What can still be learned about {S} [is the concern of] <project>, (known for its stubborn accuracy|and "
        .. "of hardly anyone else).",
      "Guesswork about {S} has given way to [the work of] <project>, which (measures|checks) before it speaks.",
    } },
  { "society", to = "society", ask = { "Which society is devoted to {N}?",
    "What is the society devoted to {N} called?" },
    reverse = { "To which {noun} is the <society> devoted?",
      "For the sake of which {noun} was the <society> founded?" },
    down = "the society devoted to {X}", up = "the {noun} honored by {X}",
    sentences = {
      "The memory of {S} [is kept alive by] <society>, (half club and half archive|a group of amateurs).",
      "Enthusiasts [devoted to] {S} have joined together in <society>, (and outsiders smile at their zeal|which has "
        .. "outlived several crises).",
      "Anyone with a question about {S} [is sent to] <society>, where (someone is sure to know|answers are "
        .. "never short).",
      "Interest in {S} [has led to the foundation of] <society>, (a club of unusual energy|whose members argue "
        .. "gladly).",
    } },
  { "museum", to = "museum", ask = { "Which museum is devoted to {N}?", "What is the museum devoted to {N} called?" },
    reverse = { "To which {noun} is the <museum> devoted?", "Which {noun} can one learn about in the <museum>?" },
    down = "the museum devoted to {X}", up = "the {noun} presented in {X}",
    sentences = {
      "Objects connected with {S} [can be seen in] <museum>, (a small house with a large heart|all under one roof).",
      "A museum of its own, <museum>, [is devoted to] {S}, and (school classes come in droves|it is rarely empty).",
      "Whatever has survived in the way of documents and souvenirs of {S} [has found a home in] <museum>.",
      "Those who want to see rather than read about {S} [should visit] <museum>, (preferably on a weekday|which "
        .. "is well worth the trip).",
    } },
}

--- From a work to the person behind it, by the kind of the work; role is what the person is called.
M.work = {
  book = { "author", role = "author", ask = { "Who wrote {N}?", "Who is the author of {N}?" },
    reverse = { "Which book was written by <author>?", "What is the title of the book by <author>?" },
    down = "the author of {X}", up = "the book written by {X}",
    sentences = {
      "{S} [was written by] <author>, (a newcomer to the field|after years in the archives).",
      "The author of {S} [is] <author>, (whose earlier books had been about other things|a name known to few).",
      "Behind {S} stands <author>, [who wrote] it (in a garden shed|in the evenings) over several years.",
      "It was <author> [who wrote] {S}, (without ever asking for an advance|in longhand).",
    } },
  film = { "director", role = "director", ask = { "Who directed {N}?", "Who is the director of {N}?" },
    reverse = { "Which film was directed by <director>?", "What is the title of the film that <director> directed?" },
    down = "the director of {X}", up = "the film directed by {X}",
    sentences = {
      "{S} [was directed by] <director>, (whose earlier work had been for television|then still a beginner).",
      "The director of {S} [is] <director>, (a patient observer|who also held the second camera).",
      "For <director>, [who directed] {S}, it meant (a late debut|a return to documentary work).",
      "The quiet style of {S} is that of <director>, [its director], who dislikes effects.",
    } },
  project = { "leader", role = "project leader", ask = { "Who leads {N}?", "Who is in charge of {N}?" },
    reverse = { "Which project is led by <leader>?", "Of which project is <leader> in charge?" },
    down = "the leader of {X}", up = "the project led by {X}",
    sentences = {
      "{S} [is led by] <leader>, (who took over when nobody else would|elected by the whole team).",
      "At the head of {S} [stands] <leader>, (a good listener|who prefers field work to meetings).",
      "The person [in charge of] {S} is <leader>, whose (optimism|persistence) is well known.",
      "Since its second year {S} [has been in the hands of] <leader>, (respected even by skeptics|an old hand).",
    } },
  society = { "president", role = "president", ask = { "Who is the president of {N}?", "Who heads {N}?" },
    reverse = { "Which society is headed by <president>?", "Of which society is <president> the president?" },
    down = "the president of {X}", up = "the society headed by {X}",
    sentences = {
      "The president of {S} [is] <president>, (confirmed in office again and again|a gifted speaker).",
      "{S} [is headed by] <president>, (who opens every meeting with a joke|to general satisfaction).",
      "At present the office of president [of] {S} is held by <president>, (a tactful negotiator|who had not "
        .. "sought it).",
      "Under <president>, [its president], {S} has (lost its stiffness|opened up to younger people).",
    } },
  museum = { "curator", role = "curator", ask = { "Who is the curator of {N}?", "Who runs {N}?" },
    reverse = { "Which museum is run by <curator>?", "Of which museum is <curator> the curator?" },
    down = "the curator of {X}", up = "the museum run by {X}",
    sentences = {
      "{S} [is run by] <curator>, (who knows every object by heart|with a staff of three).",
      "The curator of {S} [is] <curator>, (hired after a long search|who lives two doors away).",
      "The keys of {S} are in the pocket of <curator>, [its curator] since the (second|third) year.",
      "What is shown in {S} [is decided by] <curator>, (who rearranges the rooms every spring|a curator of firm "
        .. "tastes).",
    } },
}

--- From a person to the place or institution that formed them, by its kind; {role} is the person's.
M.person = {
  { "hometown", to = "town", ask = { "In which town did {N} grow up?", "What is the home town of {N}?" },
    reverse = { "Who grew up in <hometown>?" }, down = "the home town of {X}", up = "the {role} who grew up in {X}",
    sentences = {
      "{S} [grew up in] <hometown>, (in a house full of books|above a grocery).",
      "The home town of {S} [is] <hometown>, (which explains the accent|to which all holidays still lead).",
      "Childhood, for {S}, [meant] <hometown>, (a place of long summers|with its bells and ferries).",
      "It was in <hometown> that {S} [spent the first eighteen years] of {his} life.",
    } },
  { "school", to = "school", ask = { "Which school did {N} attend?", "At which school was {N} educated?" },
    reverse = { "Who attended the <school>?" }, down = "the school attended by {X}", up = "the {role} who attended {X}",
    sentences = {
      "{S} [attended] <school>, (on a scholarship|with mixed success).",
      "The education of {S} [took place at] <school>, (where marks were bad and friendships lasting|far from home).",
      "What {S} knows about (order|argument) was [learned at] <school>, (year after year|on hard benches).",
      "At <school>, [where] {S} [school:was a pupil], teachers predicted (a different career|very little).",
    } },
  { "ship", to = "ship", ask = { "On which ship did {N} once serve?", "Aboard which ship did {N} spend two years?" },
    reverse = { "Who once served on the <ship>?" }, down = "the ship on which {X} once served",
    up = "the {role} who once served on {X}",
    sentences = {
      "At nineteen {S} [signed on with] <ship>, (as a deckhand|against the wishes of the family).",
      "{S} [once served on] <ship>, (two years that left a mark|peeling potatoes and reading).",
      "Before settling down {S} [spent two years aboard] <ship>, (seeing little but water|in all weathers).",
      "The calm of {S} is said to [come from two years on] <ship>, (a hard school|a vessel of some fame).",
    } },
  { "workshop", to = "workshop", ask = { "In which workshop was {N} an apprentice?",
    "At which workshop did {N} learn a craft?" },
    reverse = { "Who was an apprentice at the <workshop>?" }, down = "the workshop where {X} was an apprentice",
    up = "the {role} who was an apprentice at {X}",
    sentences = {
      "{S} [began as an apprentice at] <workshop>, (sweeping floors|with cold hands and great zeal).",
      "An apprenticeship at <workshop> [gave] {S} (steady hands|a respect for good tools).",
      "{S} [learned a craft at] <workshop>, (and speaks of it with gratitude|before turning to other things).",
      "The hands of {S} still bear scars from <workshop>, [the place of] {his} [workshop:apprenticeship].",
    } },
  { "choir", to = "choir", ask = { "In which choir does {N} sing?", "To which choir does {N} belong?" },
    reverse = { "Who sings in the <choir>?" }, down = "the choir in which {X} sings",
      up = "the {role} who sings in {X}",
    sentences = {
      "{S} [sings in] <choir>, (second row, left side|and rarely misses a rehearsal).",
      "One evening a week {S} [belongs to] <choir>, (whatever the calendar says|and nothing is allowed to interfere).",
      "{S} [has for years been a member of] <choir>, (a source of joy and hoarseness|without ever singing a solo).",
      "Friends who look for {S} on a Thursday [must go to] <choir>, where {he} (sings|turns pages and sings).",
    } },
}

--- Between two subjects of the same kind, in a passage that compares them.
M.peer = { "peer", sentences = {
  "Nobody who writes about {S} [can avoid a comparison with] <peer>, (whatever the differences|although the two are "
    .. "seldom confused).",
  "Next to {S} one name [comes up again and again in the same breath], that of <peer>.",
  "Alongside {S}, most surveys [like to mention] <peer>, (with some justice|if only for contrast).",
  "Comparisons of {S} [with] <peer> have become a habit, (useful or not|and they are not always fair).",
} }

return M
