"""Vehicles, buildings, street furniture and the sky, in the format of `subjects_living`."""

TABLE = """
[vehicle]
car | car, automobile, family car | red
car_side | saloon car, sedan, compact car | blue
car_sports | sports car, racing car | red
car_convertible | convertible, cabriolet, roadster | coral
car_estate | estate car, station wagon | teal
car_limousine | limousine, stretch limousine | charcoal
car_pickup | pickup truck, pickup | mustard
car_lifted_pickup | monster truck, off-road truck | lime green
taxi | taxi, taxicab, cab | yellow
bus | bus, city bus | red
bus_school | school bus | yellow
bus_double_decker | double-decker bus, london bus | red
ambulance | ambulance | ivory
fire_truck | fire engine, fire truck | red
truck | lorry, delivery truck | blue
truck_flatbed | flatbed truck | orange
dump_truck | dump truck, tipper truck | mustard
tow_truck | tow truck, breakdown truck | orange
tanker_truck | tanker truck, fuel tanker | steel
excavator | excavator, digger | mustard
bulldozer | bulldozer | mustard
forklift | forklift, forklift truck | orange
tractor | tractor, farm tractor | green
tractor_variant | old tractor, vintage tractor | red
mower | lawn mower, lawnmower | green
go_kart | go-kart | red
golf_cart | golf cart, golf buggy | ivory
motorbike | motorcycle, motorbike | charcoal
moped | moped, motor scooter, vespa | turquoise
scooter | kick scooter, scooter | magenta
bicycle | bicycle, pushbike | teal
bike | cyclist, person on a bicycle | blue
bicycle_penny_farthing | penny-farthing, high-wheel bicycle | charcoal
bicycle_basket | bicycle with a basket | pink
unicycle | unicycle | purple
rickshaw | auto rickshaw, tuk-tuk | green
caravan | caravan, camper trailer | ivory
rv_truck | motorhome, camper van | beige
van_passenger | minibus, minivan | sky blue
van_utility | van, delivery van | grey
train | train, locomotive | blue
tram | tram, trolley car | red
tram_side | old tram, electric tram | maroon
train_car_caboose | caboose, railway carriage | maroon
train_car_passenger | passenger coach, railway coach | emerald
train_car_tank | tank wagon, railway tank car | charcoal
gondola | cable car, ski gondola | red
airplane | aeroplane, airplane, jet plane | steel
airplane_takeoff | plane taking off, departing plane | steel
helicopter | helicopter, chopper | olive
rocket | rocket, space rocket | red
rocket_launch | flying rocket, rocket ship | coral
ufo | ufo, flying saucer | steel
airballoon | hot air balloon, hot-air balloon | orange
quadcopter | drone, quadcopter | charcoal
satellite_variant | satellite, space satellite | steel
space_station | space station | steel
space_invaders | space invader, pixelated alien | lime green
sail_boat | sailing boat, sailboat, yacht | blue
ferry | ferry, ship, steamship | navy blue
submarine | submarine | mustard
snowmobile | snowmobile, snow scooter | purple
tank | tank, army tank | olive
wheelchair | wheelchair user, person in a wheelchair | blue
baby_carriage | pram, baby carriage | lavender
baby_buggy | pushchair, baby buggy | teal
cart | shopping cart, shopping trolley | steel
skateboard | skateboard | orange
crane | harbour crane, loading crane | mustard
plane_car | plane and a car | steel

[building]
home | house, cottage, bungalow | coral
home_modern | modern house | grey
hoop_house | polytunnel | lime green
cabin_a_frame | a-frame cabin, cabin | brown
greenhouse | greenhouse, glasshouse | emerald
barn | barn, farm barn | red
silo | silo, grain silo | steel
home_silo | farm, farmhouse with a silo | red
castle | castle, fortress | grey
church | church, chapel | beige
mosque | mosque | turquoise
temple_buddhist | pagoda, buddhist temple | red
temple_hindu | hindu temple | orange
eiffel_tower | eiffel tower | brown
lighthouse | lighthouse | red
lighthouse_on | lighthouse with its lamp lit | red
wind_turbine | wind turbine, windmill | ivory
factory | factory, mill | maroon
warehouse | warehouse, depot | steel
hospital_building | hospital | ivory
office_building | office block, tower block | blue
city_variant | skyscraper, high-rise | blue
bank | bank, greek temple, parthenon | ivory
town_hall | town hall, schoolhouse | peach
storefront | market stall, corner shop | coral
stadium_variant | arena, stadium | grey
tent | camping tent, tent | orange
yurt | yurt | beige
bridge | suspension bridge, bridge | red
pier | jetty, pier | brown
tunnel | railway tunnel, tunnel | brown
water_well | wishing well, water well | grey
fountain | fountain, water fountain | sky blue
tower_beach | lifeguard tower, watchtower | tan
radio_tower | radio mast, radio tower | steel
transmission_tower | electricity pylon, pylon | steel
ferris_wheel | ferris wheel, big wheel | magenta
slide | playground slide | lime green
seesaw | seesaw | lime green
fence | fence, picket fence | ivory
gate | gate, garden gate | charcoal
garage | garage | grey
stairs | staircase, flight of stairs | grey
door | door, closed door | brown
door_open | open door | brown
window_closed | window, sash window | sky blue
balcony | balcony, arched balcony | tan
grave_stone | gravestone, tombstone | grey
coffin | coffin, casket | brown
pillar | pillar, greek column | ivory
pyramid | pyramid, egyptian pyramid | mustard
island | desert island, tropical island | tan
volcano | smoking volcano, volcanic cone | maroon
waterfall | waterfall | sky blue
campfire | campfire, bonfire | orange
fireplace | fireplace, hearth | maroon
post_lamp | lamp post, street lamp | charcoal
coach_lamp | lantern, coach lantern | mustard
bench_back | park bench, bench | brown
mailbox | mailbox, letterbox | blue
fire_hydrant | fire hydrant | red
sign_direction | signpost, road sign | brown
sign_caution | roadblock, striped barrier | orange
billboard | billboard | blue
wall | wall, garden wall | maroon
umbrella_beach | beach umbrella, parasol | coral
beach | beach umbrella under the sun | coral
summit | mountain with a flag on top | grey
solar_panel | solar panel | navy blue
water_pump | water pump, hand pump | teal
storage_tank | storage tank | steel
traffic_light | traffic light, stoplight | charcoal
traffic_cone | traffic cone, road cone | orange
gas_station | petrol pump, gas pump | red

[heaven]
white_balance_sunny | blazing sun, little sun | yellow
moon_waning_crescent | crescent, crescent moon | mustard
star | star, five-pointed star | yellow
star_shooting | shooting star, falling star | yellow
earth | planet earth, globe of the world | blue
cloud | cloud, fluffy cloud | ivory
weather_lightning | thundercloud, storm cloud | grey
snowflake | snowflake, ice crystal | sky blue
fire | flame, fire, burning flame | orange
water | drop of water, water drop, raindrop | sky blue
lightning_bolt | lightning bolt, thunderbolt | yellow
tsunami | giant wave, breaking wave | blue
weather_tornado | tornado, whirlwind | grey
"""
