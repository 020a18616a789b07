-- SPDX-License-Identifier: Apache-2.0
-- Slot values of the template tasks (knowledge, coreference): real places, as in the paper's samples, and everyday
-- given names, surnames, occupations; universities and employers are composed and belong to nobody.
local list = require("kvbench.dataset.names").list

local M = {}

local function lines(s)
  local t = {}
  for line in s:gmatch("[^\n]+") do t[#t + 1] = line:match("^%s*(.-)%s*$") end
  return t
end

M.female = list [[Cora Xena Sofia Elena Marta Ingrid Amara Leila Nadia Priya Yuki Hana Mei Lucia Carmen Alma Bianca
  Clara Daria Edith
  Fiona Greta Helga Irene Judith Karin Laura Miriam Nora Olga Paula Rosa Sara Tamara Ursula Vera Wanda Zoe Agnes
  Brenda Claudia
  Diana Emma Flora Gloria Harriet Ines Joanna Katrin Lydia Monica Natalie Opal Petra Rachel Selma Teresa Una Violet
  Winona Yasmin
  Adele Bridget Cecilia Dolores Esther Frances Gemma Hilda Iris Jasmine Kira Lorena Magda Nina Oriana Phoebe Regina
  Stella Thelma
  Valerie Wilma Zara Annika Birgit Constance Dorothy Elsa Felicia Gina Heidi Isabel Jana Kamila Livia Melissa Noemi
  Ramona Silvia]]
M.male = list [[Julian Oscar Peter Martin Viktor Samuel Daniel Adrian Benjamin Carl David Edgar Felix George Henry
  Ivan Jacob Karl
  Leon Marco Nathan Oliver Paul Rafael Simon Thomas Ulrich Vincent Walter Yusuf Albert Boris Conrad Dennis Erik Frank
  Gustav Hugo
  Igor Jonas Kevin Lukas Matthias Norman Otto Philip Robert Stefan Theodor Victor Wesley Arthur Bernard Christian
  Dominic Emil
  Fernando Gabriel Harold Isaac Joel Kenneth Lorenzo Manuel Nicholas Olaf Patrick Richard Sergio Timothy Vernon Warren
  Aaron Bruno
  Calvin Diego Ernest Francis Gilbert Howard Ismael Jerome Kurt Leonard Mario Neil Omar Pablo Raymond Salvador Tristan
  Virgil
  Alan Brian Cyril Darius Elias Fabio Gerald Hector Joseph Klaus]]
M.surname = list [[Foster Bell Delaine Hartley Moreau Lindqvist Okafor Tanaka Petrov Navarro Castellan Whitlock
  Brenner Duval
  Eriksen Farrell Galvez Holloway Ibarra Jansen Keller Lomax Merrick Novak Ostberg Pruitt Quigley Ramsey Sandoval
  Thornton
  Underhill Vasquez Weller Yardley Zeller Abbott Barlow Calloway Draper Ellison Fairbanks Gorman Hadley Ingram Jarvis
  Kendrick
  Langley Maddox Norwood Oakley Pemberton Quimby Rowland Sheldon Talbot Upshaw Vickers Wainwright Yates Zimmer Alcott
  Birch
  Corwin Dalton Easton Fenwick Garland Hensley Irwin Judson Kirby Lawton Mayfield Nesbitt Osgood Prescott Radcliffe
  Sutherland
  Tilden Unger Vance Winslow Aldridge Bancroft Carver Denholm Ewing Forsythe Goddard Hollis Ivers Joyner Kimball
  Leland Marlowe
  Nickerson Overton Pickering Redmond Stanton Truman Vaughn Whitfield Ashby Burgess Coleman Dunbar Emerson Fletcher
  Grayson
  Hubbard Ives Jennings Kingsley Lockhart Millard Northcott Ormond Paxton Rutledge Sherwood Tolliver Varga Westbrook
  Ackerman
  Blackwood Cromwell Donovan Everett Fitzroy Gallagher Hawthorn Isley Jamison Knowles Ludlow Mercer Nolan Orwin
  Pierson Renfrew
  Sinclair Thurman Vogel Wexler Amsel Baumann Chaudhry Dimitrov Esposito Fontaine Grigoryan Haddad Ilves Jovanovic
  Kovacs Laurent
  Mbeki Nakamura Olafsson Pereira Quintero Rossi Silva Toivonen Urbano Vanhoven Wojcik Yilmaz Zhukov Andrade Bjork
  Cardoso]]

-- City, region, country: the form of the paper's samples ("Aleppo, Aleppo Governorate, Syria").
M.places = lines [[
Aleppo, Aleppo Governorate, Syria
Podgorica, Podgorica, Montenegro
Graz, Styria, Austria
Bergen, Vestland, Norway
Porto, Norte, Portugal
Daegu, North Gyeongsang, South Korea
Sapporo, Hokkaido, Japan
Tianjin, Tianjin, China
Cusco, Cusco, Peru
Rosario, Santa Fe, Argentina
Valparaiso, Valparaiso, Chile
Medellin, Antioquia, Colombia
Oaxaca, Oaxaca, Mexico
Halifax, Nova Scotia, Canada
Tucson, Arizona, United States
Hobart, Tasmania, Australia
Dunedin, Otago, New Zealand
Cork, Munster, Ireland
Aberdeen, Scotland, United Kingdom
Lille, Hauts-de-France, France
Bremen, Bremen, Germany
Ghent, East Flanders, Belgium
Utrecht, Utrecht, Netherlands
Aarhus, Central Jutland, Denmark
Malmo, Skane, Sweden
Tampere, Pirkanmaa, Finland
Tartu, Tartu County, Estonia
Daugavpils, Latgale, Latvia
Kaunas, Kaunas County, Lithuania
Gdansk, Pomerania, Poland
Brno, South Moravia, Czechia
Kosice, Kosice Region, Slovakia
Szeged, Csongrad-Csanad, Hungary
Cluj-Napoca, Cluj, Romania
Plovdiv, Plovdiv Province, Bulgaria
Nis, Nisava, Serbia
Split, Split-Dalmatia, Croatia
Maribor, Drava, Slovenia
Mostar, Herzegovina-Neretva, Bosnia
Durres, Durres County, Albania
Bitola, Pelagonia, North Macedonia
Patras, Western Greece, Greece
Izmir, Izmir Province, Turkey
Batumi, Adjara, Georgia
Gyumri, Shirak, Armenia
Ganja, Ganja-Dashkasan, Azerbaijan
Haifa, Haifa District, Israel
Irbid, Irbid Governorate, Jordan
Basra, Basra Governorate, Iraq
Shiraz, Fars, Iran
Lahore, Punjab, Pakistan
Pune, Maharashtra, India
Chittagong, Chittagong Division, Bangladesh
Kandy, Central Province, Sri Lanka
Pokhara, Gandaki, Nepal
Mandalay, Mandalay Region, Myanmar
Chiang Mai, Chiang Mai, Thailand
Da Nang, Da Nang, Vietnam
Cebu City, Central Visayas, Philippines
Surabaya, East Java, Indonesia
Penang, Penang, Malaysia
Samarkand, Samarkand Region, Uzbekistan
Almaty, Almaty Region, Kazakhstan
Osh, Osh Region, Kyrgyzstan
Kazan, Tatarstan, Russia
Lviv, Lviv Oblast, Ukraine
Brest, Brest Region, Belarus
Balti, Balti, Moldova
Fez, Fez-Meknes, Morocco
Oran, Oran Province, Algeria
Sfax, Sfax Governorate, Tunisia
Aswan, Aswan Governorate, Egypt
Kumasi, Ashanti, Ghana
Ibadan, Oyo State, Nigeria
Bouake, Vallee du Bandama, Ivory Coast
Thies, Thies Region, Senegal
Mombasa, Mombasa County, Kenya
Arusha, Arusha Region, Tanzania
Gulu, Northern Region, Uganda
Ndola, Copperbelt, Zambia
Bulawayo, Bulawayo Province, Zimbabwe
Durban, KwaZulu-Natal, South Africa
Huambo, Huambo Province, Angola
Beira, Sofala, Mozambique
Recife, Pernambuco, Brazil
Cochabamba, Cochabamba, Bolivia
Cuenca, Azuay, Ecuador
Salto, Salto Department, Uruguay
Encarnacion, Itapua, Paraguay
Maracaibo, Zulia, Venezuela
Santiago, Veraguas, Panama
Leon, Leon Department, Nicaragua
Holguin, Holguin Province, Cuba
Turin, Piedmont, Italy
Seville, Andalusia, Spain
Lausanne, Vaud, Switzerland
Akureyri, Northeastern Region, Iceland
Sliema, Northern Harbour, Malta
Limassol, Limassol District, Cyprus]]

M.occupations = lines [[
Tour Guide
Carpenter
Pharmacist
Civil Engineer
Librarian
Baker
Electrician
Translator
Veterinarian
Accountant
Florist
Graphic Designer
Plumber
Journalist
Dental Hygienist
Museum Curator
Bus Driver
Tailor
Chemist
Landscape Architect
Physiotherapist
Bookbinder
Surveyor
Air Traffic Controller
Beekeeper
Midwife
Locksmith
Statistician
Glassblower
Social Worker
Park Ranger
Watchmaker
Welder
Speech Therapist
Data Analyst
Piano Tuner
Optician
Firefighter
Marine Biologist
Court Clerk
Upholsterer
Geologist
Barber
Hotel Manager
Radio Producer
Illustrator
Crane Operator
Paralegal
Cartographer
Sommelier]]

M.university_cities = list [[Daegu Tianjin Shanghai Nairobi Lisbon Oslo Dublin Leeds Quito Havana Kyoto Busan Hanoi
  Delhi Madras
  Lagos Accra Tunis Cairo Ankara Sofia Riga Vilnius Krakow Prague Vienna Zurich Geneva Milan Lyon Madrid Boston Denver
  Austin Ottawa Perth Sydney Auckland Santos Lima Bogota Managua Kingston Nassau Dakar Kigali Lusaka Maputo Colombo
  Jakarta
  Manila]]
M.university_words = list [[
  Global Harbor Northern Pacific Central Metropolitan Coastal National Highland Royal Valley
  Lakeside]]
M.university_fields = lines [[
Science University
Maritime University
Arts University
Medical University
Technology University
Polytechnic University
Business University
Agricultural University
Music University
Engineering University]]

M.employer_words = list [[Calder Ridgeway Bluestone Fairhaven Kestrel Longmere Silverdale Westmark Brightwater
  Oakhurst Redfern
  Stonebridge Tallgrass Whitepine Cedarline Ironvale Larkspur Millbrook Foxglove Amberley]]
M.employer_fields = lines [[
Freight Company
Consulting Group
Health Services
Trading Company
Heritage Trust
Energy Cooperative
Print Works
Supply Company
Design Studio
Research Institute
Travel Agency
Food Cooperative]]

M.months = list "January February March April May June July August September October November December"

return M
