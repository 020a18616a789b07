-- SPDX-License-Identifier: Apache-2.0
-- Real names that no invented entity may bear: a model could answer from memory. Places, peoples, bands, animals,
-- series and landmarks as words or phrases; known persons by full name. Also the names of the prompts' worked
-- examples, so that an answer copied from an example is recognisable as a leak.
local M = {}

local function set(text)
  local t = {}
  for name in text:gmatch("[^,]+") do t[name:gsub("%s+", " "):match("^ ?(.-) ?$"):lower()] = true end
  return t
end

-- Words of the worked examples in kvbench.prompt.examples.
M.reserved = set [[Brindle, Tobin, Harle]]

-- Cities, countries, regions, mountains, rivers and lakes.
M.places = set [[Aachen, Aberdeen, Abidjan, Accra, Adelaide, Afghanistan, Agra, Ajaccio, Albania, Albany, Aleppo,
  Alexandria, Algeria, Algiers, Almaty, Amazon, Amman, Amsterdam, Anchorage, Andorra, Angola, Ankara, Antalya,
  Antwerp, Arequipa, Argentina, Arizona, Armenia, Arusha, Asuncion, Athens, Atlanta, Auckland, Austin, Australia,
  Austria, Avignon, Baghdad, Bahrain, Baku, Bali, Baltimore, Bamako, Bangalore, Bangkok, Bangladesh, Barcelona,
  Bari, Basel, Basra, Bath, Beijing, Beirut, Belarus, Belfast, Belgium, Belgrade, Belize, Bergen, Berlin, Bern,
  Bhutan, Bilbao, Birmingham, Bogota, Bolivia, Bologna, Bombay, Bonn, Bordeaux, Boston, Botswana, Bradford,
  Brasilia, Bratislava, Brazil, Bremen, Brentwood, Brest, Brighton, Brisbane, Bristol, Britain, Brittany, Brno,
  Brooklyn, Bruges, Brunei, Brussels, Bucharest, Budapest, Buffalo, Bulgaria, Burgundy, Burma, Busan, Cairo, Calais,
  Calcutta, Calgary, California, Cambodia, Cambridge, Cameroon, Canada, Canberra, Cancun, Cannes, Canterbury,
  Caracas, Cardiff, Carthage, Casablanca, Catalonia, Chad, Charleston, Chennai, Chicago, Chile, China, Cleveland,
  Cologne, Colombia, Colombo, Colorado, Congo, Copenhagen, Cordoba, Corfu, Cork, Corsica, Coventry, Crete, Crimea,
  Croatia, Cuba, Cusco, Cyprus, Czechia, Dakar, Dallas, Damascus, Danube, Darwin, Delhi, Denmark, Denver, Detroit,
  Devon, Dhaka, Dorset, Dortmund, Dover, Dresden, Dubai, Dublin, Dubrovnik, Dundee, Dunedin, Durban, Durham,
  Ecuador, Edinburgh, Egypt, England, Eritrea, Essex, Estonia, Ethiopia, Exeter, Fargo, Fiji, Finland, Flanders,
  Florence, Florida, France, Frankfurt, Freiburg, Fukuoka, Gabon, Galway, Gambia, Ganges, Gdansk, Geneva, Genoa,
  Georgia, Germany, Ghana, Ghent, Gibraltar, Glasgow, Gothenburg, Granada, Graz, Greece, Greenland, Grenoble,
  Guatemala, Guinea, Guyana, Haifa, Haiti, Halifax, Hamburg, Hannover, Hanoi, Harare, Hartford, Havana, Hawaii,
  Helsinki, Hiroshima, Hobart, Holland, Honduras, Houston, Hungary, Iceland, India, Indiana, Indonesia, Indus, Iowa,
  Iran, Iraq, Ireland, Israel, Istanbul, Italy, Jaipur, Jakarta, Jamaica, Japan, Jerusalem, Johannesburg, Jordan,
  Kabul, Kansas, Karachi, Kathmandu, Kazakhstan, Kent, Kentucky, Kenya, Khartoum, Kiev, Kigali, Kingston, Kobe,
  Korea, Kosovo, Krakow, Kuwait, Kyoto, Kyrgyzstan, Lagos, Lahore, Lancaster, Laos, Latvia, Lausanne, Lebanon,
  Leeds, Leicester, Leipzig, Lesotho, Liberia, Libya, Lille, Lima, Limerick, Lincoln, Lisbon, Lithuania, Liverpool,
  London, Lourdes, Lucerne, Lusaka, Luxembourg, Lyon, Macedonia, Madagascar, Madrid, Mainz, Malaga, Malawi,
  Malaysia, Mali, Malmo, Malta, Managua, Manchester, Mandalay, Manhattan, Manila, Mantua, Marrakesh, Marseille,
  Mauritius, Mecca, Medina, Melbourne, Memphis, Mexico, Miami, Michigan, Milan, Minsk, Mississippi, Missouri,
  Modena, Moldova, Monaco, Mongolia, Montana, Montenegro, Montevideo, Montreal, Morocco, Moscow, Mosul, Mozambique,
  Mumbai, Munich, Myanmar, Nagasaki, Nagoya, Nairobi, Namibia, Nantes, Naples, Nashville, Nassau, Nebraska, Nepal,
  Netherlands, Nevada, Newcastle, Nicaragua, Nice, Nicosia, Niger, Nigeria, Nile, Norfolk, Normandy, Norway,
  Norwich, Nottingham, Nuremberg, Odessa, Ohio, Oman, Oregon, Orinoco, Orlando, Osaka, Oslo, Ottawa, Oxford, Padua,
  Pakistan, Palermo, Palestine, Panama, Paraguay, Paris, Parma, Patagonia, Perth, Peru, Perugia, Philadelphia,
  Phoenix, Piraeus, Pisa, Plymouth, Podgorica, Poland, Portland, Porto, Portsmouth, Portugal, Potsdam, Poznan,
  Prague, Pretoria, Provence, Prussia, Pune, Qatar, Quebec, Quito, Rabat, Ravenna, Reading, Reykjavik, Rhine, Rhone,
  Riga, Riyadh, Romania, Rome, Rosario, Rostock, Rotterdam, Rouen, Russia, Rwanda, Sahara, Saigon, Salem, Salerno,
  Salisbury, Salzburg, Samarkand, Samoa, Santiago, Santos, Sapporo, Sarajevo, Sardinia, Scotland, Seattle, Segovia,
  Seine, Selma, Senegal, Seoul, Serbia, Seville, Shanghai, Sheffield, Shiraz, Siberia, Sicily, Siena, Singapore,
  Skopje, Slovakia, Slovenia, Sofia, Somalia, Sparta, Split, Stockholm, Strasbourg, Stuttgart, Sudan, Suez, Sumatra,
  Surrey, Swansea, Sweden, Switzerland, Sydney, Syracuse, Syria, Tahiti, Taipei, Taiwan, Tallinn, Tampa, Tanzania,
  Tasmania, Tbilisi, Tehran, Texas, Thailand, Thames, Thessaloniki, Tianjin, Tibet, Tijuana, Tirana, Togo, Tokyo,
  Toledo, Tonga, Toronto, Toulouse, Trento, Trieste, Tripoli, Trondheim, Tucson, Tunis, Tunisia, Turin, Turkey,
  Tuscany, Uganda, Ukraine, Uppsala, Uruguay, Utah, Utrecht, Uzbekistan, Valencia, Valparaiso, Vancouver, Venezuela,
  Venice, Vermont, Verona, Versailles, Vienna, Vietnam, Vilnius, Virginia, Volga, Wales, Warsaw, Washington,
  Waterloo, Weimar, Wellington, Winchester, Windsor, Winnipeg, Wroclaw, Yangon, Yemen, Yerevan, York, Yosemite,
  Zagreb, Zambia, Zanzibar, Zimbabwe, Zurich]]

-- Ancient cities and peoples, myths, landmarks, prisons, bands, series, animals, illnesses, companies, universities.
M.things = set [[Akkad, Angkor, Antioch, Aphrodisias, Ashur, Atlantis, Babylon, Byblos, Caral, Chichen Itza, Copan,
  Corinth, Cuzco, Delphi, Ebla, Ephesus, Eridu, Gomorrah, Harappa, Hattusa, Herculaneum, Jericho, Karnak, Kerma,
  Kish, Knossos, Lagash, Luxor, Machu Picchu, Mari, Meroe, Mohenjo-daro, Mycenae, Nimrud, Nineveh, Nippur, Olympia,
  Palenque, Palmyra, Pergamon, Persepolis, Petra, Pompeii, Sardis, Smyrna, Sodom, Susa, Teotihuacan, Thebes,
  Tenochtitlan, Tikal, Tiryns, Troy, Tulum, Tyre, Ugarit, Ur, Uruk, Uxmal, Aztec, Inca, Maya, Olmec, Toltec,
  Sumerian, Hittite, Assyrian, Etruscan, Phoenician, Minoan, Nabataean, Scythian, Alcatraz, Alhambra, Bastille,
  Big Ben, Colosseum, Devil's Island, Eiffel Tower, Golden Gate Bridge, Hagia Sophia, Kremlin, Louvre, Parthenon,
  Robben Island, San Quentin, Sing Sing, Stonehenge, Taj Mahal, Tower Bridge, Uluru, Deccan Traps, Siberian Traps,
  Giant's Causeway, Devils Tower, Matterhorn, Everest, Kilimanjaro, Vesuvius, Etna, Krakatoa, Fuji, Abba, Aerosmith,
  Beatles, Blur, Coldplay, Genesis, Journey, Kansas, Metallica, Muse, Nirvana, Oasis, Pearl Jam, Queen, Pink Floyd,
  Radiohead, Ramones, Rolling Stones, Rush, Tool, Weezer, Arcade Fire, Interpol, Mastodon, Mudhoney, Soundgarden,
  Akira, Bleach, Cowboy Bebop, Death Note, Dragon Ball, Evangelion, Gintama, Gundam, Inuyasha, Naruto, One Piece,
  Pokemon, Sailor Moon, Totoro, Trigun, Astro Boy, Doraemon, Haikyuu, Hunter x Hunter, Bebop, Samurai Champloo,
  Steins Gate, Allosaurus, Ankylosaurus, Baryonyx, Brachiosaurus, Dilophosaurus, Diplodocus, Iguanodon, Megalodon,
  Plesiosaur, Pteranodon, Raptor, Spinosaurus, Stegosaurus, Triceratops, Tyrannosaurus, Velociraptor, Mammoth, Dodo,
  Smilodon, Thunderbird, Ammonite, Asthma, Cholera, Dengue, Diphtheria, Ebola, Epilepsy, Gout, Influenza, Lupus,
  Malaria, Measles, Pneumonia, Polio, Rabies, Rickets, Scurvy, Smallpox, Tetanus, Typhus, Parkinson, Alzheimer,
  Tourette, Lyme, Crohn, Huntington, Salem Witch Trials, Nuremberg Trials, Scopes Trial, Pendle Witch Trials,
  Dreyfus Affair, Amazon, Apple, Google, Microsoft, Sony, Toyota, Siemens, Nokia, Philips, Samsung, Nintendo,
  Disney, Warner, Motown, Geffen, Ghibli, Pixar, Netflix, Chelsea, Arsenal, Juventus, Benfica, Ajax, Celtic,
  Everton, Fulham, Santos, Boca Juniors, Harvard University, Yale University, Princeton University,
  Stanford University, Oxford University, Cambridge University, Boston University, Cairo University,
  Kyoto University, Shanghai Maritime University, Dublin City University, Shanghai Normal University,
  Vienna University of Technology, Istanbul Technical University, Korea University, Manila Central University,
  Perth Modern School, Hanoi Medical University, Sofia Medical University, Riga Technical University,
  Jakarta Arts University, Boston Medical University, Delhi Technological University]]

M.persons = set [[Ada Lovelace, Adam Smith, Albert Camus, Albert Einstein, Alan Turing, Alfred Nobel,
  Amelia Earhart, Ann Lee, Anna Kournikova, Arthur Miller, Barack Obama, Benjamin Franklin, Bernard Shaw,
  Boris Yeltsin, Calvin Coolidge, Calvin Klein, Carl Jung, Carl Sagan, Charles Darwin, Charles Dickens,
  Clara Schumann, Claude Monet, Daniel Craig, David Bowie, David Foster, Diana Ross, Diego Maradona, Dorothy Parker,
  Edgar Degas, Edgar Poe, Elvis Presley, Emily Bronte, Emma Thompson, Emma Watson, Ernest Hemingway,
  Felix Mendelssohn, Fernando Alonso, Florence Nightingale, Francis Bacon, Frank Sinatra, Franz Kafka, Frida Kahlo,
  Gabriel Silva, George Eliot, George Foster, George Orwell, George Washington, Gloria Vanderbilt, Grace Kelly,
  Gustav Klimt, Gustav Mahler, Harriet Tubman, Henry Ford, Henry Moore, Hugo Lloris, Igor Stravinsky,
  Ingrid Bergman, Irene Adler, Isaac Newton, Jane Austen, Jodie Foster, Joan Miro, Johannes Kepler, John Lennon,
  Julian Alvarez, Karl Marx, Kate Bush, Kenneth Branagh, Kurt Cobain, Kurt Vonnegut, Laura Dern, Laura Ingalls,
  Leonard Bernstein, Leonard Cohen, Louis Pasteur, Marco Rossi, Maria Callas, Marie Curie, Mario Rossi,
  Mario Vargas, Mark Twain, Martin Luther, Martin Scorsese, Michael Jackson, Miles Davis, Miriam Makeba,
  Nadia Comaneci, Naomi Osaka, Neil Armstrong, Neil Young, Nelson Mandela, Nikola Tesla, Nina Simone, Norman Foster,
  Norman Mailer, Norman Rockwell, Octavia Butler, Oliver Cromwell, Oliver Twist, Oscar Wilde, Pablo Picasso,
  Patrick Stewart, Paul Klee, Paul McCartney, Paulo Silva, Peter Gabriel, Philip Glass, Philip Larkin,
  Rachel Carson, Ralph Ellison, Richard Wagner, Robert Frost, Robert Fisk, Rosa Parks, Rosalind Franklin,
  Salvador Dali, Samuel Beckett, Sigmund Freud, Sophie Ellis, Stefan Zweig, Stephen King, Steve Jobs, Susan Sontag,
  Sylvia Plath, Thelma Schoonmaker, Thomas Cromwell, Thomas Edison, Thomas Mann, Toni Morrison, Ursula Andress,
  Vera Wang, Victor Hugo, Vincent Vega, Viktor Orban, Vincent Price, Virginia Woolf, Walt Disney, Walter Raleigh,
  Warren Buffett, William Blake, William Shakespeare, Winston Churchill, Wolfgang Mozart, Yuri Gagarin, Zadie Smith,
  Zoe Saldana]]

--- Which list holds a name, or nil. Persons are compared by full name and places by the whole name too; anything else
-- also word by word, unless `whole` (template tasks compose names of real words on purpose).
function M.find(name, type, whole)
  local key = name:lower()
  for word in key:gmatch("[%w']+") do if M.reserved[word] then return "reserved for prompt examples" end end
  if type == "Person" then return M.persons[key] and "known person" or nil end
  if M.places[key] then return "place" end
  if M.things[key] then return "known name" end
  if whole then return nil end
  for word in name:gmatch("%u[%w']*") do
    local lower = word:lower()
    if M.places[lower] then return "place" end
    if M.things[lower] then return "known name" end
  end
end

return M
