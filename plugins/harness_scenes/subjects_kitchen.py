"""Food, drink and what stands in a kitchen, in the format of `subjects_living`."""

TABLE = """
[food]
corn | corn cob, ear of corn | yellow
carrot | carrot | orange
pumpkin | pumpkin, squash | orange
leek | leek, spring onion | lime green
chili_mild | chili pepper, hot pepper | red
fruit_cherries | *cherries | crimson
fruit_citrus | lemon, sliced lemon | yellow
fruit_grapes | bunch of grapes, cluster of grapes | purple
fruit_pear | pear | lime green
fruit_pineapple | pineapple | mustard
fruit_watermelon | slice of watermelon, watermelon wedge | coral
food_apple | apple, crisp apple | red
peanut | peanut, peanut in its shell | tan
pizza | slice of pizza, pizza slice | orange
hamburger | hamburger, burger, cheeseburger | brown
food_hot_dog | hot dog | coral
french_fries | box of french fries, bag of chips | yellow
taco | taco, bean taco | mustard
noodles | bowl of noodles, bowl of ramen | red
rice | bowl of rice, rice bowl | ivory
pasta | plate of spaghetti, plate of pasta | mustard
sausage | sausage, bratwurst | brown
food_steak | steak, t-bone steak | crimson
food_drumstick | chicken drumstick, drumstick | brown
food_turkey | roast turkey, roast chicken | brown
food_croissant | croissant | tan
baguette | baguette, loaf of french bread | tan
bread_slice | slice of bread, slice of toast | tan
pretzel | pretzel | brown
cheese | wedge of cheese, piece of cheese | yellow
egg_fried | fried egg | ivory
cupcake | cupcake, fairy cake | pink
cake_variant | birthday cake, iced cake | pink
cake_layered | wedding cake, layer cake | ivory
muffin | muffin, blueberry muffin | brown
cookie | cookie, chocolate chip cookie, biscuit | tan
candy | sweet, wrapped candy, bonbon | magenta
candycane | candy cane | red
ice_cream | ice cream cone, ice cream | peach
ice_pop | popsicle, ice lolly | turquoise
popcorn | bucket of popcorn, box of popcorn | red
food_takeout_box | takeaway box, box of takeaway food | red
food | burger and a soda | orange

[kitchen]
coffee | cup of coffee, coffee cup, mug of coffee | brown
tea | cup of tea, teacup | emerald
beer | pint of beer, glass of beer | mustard
glass_wine | glass of wine, wine glass, goblet | maroon
glass_cocktail | cocktail, martini glass, martini | turquoise
glass_flute | champagne flute, glass of champagne | mustard
glass_mug | beer mug, tankard | mustard
glass_mug_variant | frothing beer mug, stein of beer | mustard
bottle_wine | wine bottle, bottle of wine | maroon
bottle_soda_classic | cola bottle, soda bottle | red
bottle_tonic | flask, round bottle | teal
bottle_tonic_skull | bottle of poison, poison bottle | purple
bottle_tonic_plus | medicine bottle, bottle of medicine | teal
cup_water | glass of water, tumbler of water | sky blue
keg | keg, beer keg | steel
barrel | barrel, oil drum | brown
kettle | kettle, tea kettle, teapot | steel
kettle_steam | steaming kettle | steel
coffee_maker | coffee machine, coffee maker | charcoal
pot | cooking pot, saucepan | steel
pot_steam | steaming pot, boiling pot | steel
bowl | bowl, empty bowl | blue
bowl_mix | mixing bowl, bowl with a spoon | blue
mortar_pestle | mortar and pestle | grey
shaker | salt shaker, pepper shaker | grey
soy_sauce | soy sauce bottle | brown
silverware_fork | fork | steel
silverware_spoon | spoon | steel
silverware_variant | crossed knife and fork | steel
silverware_fork_knife | fork and knife, set of cutlery | steel
chef_hat | chef's hat, cook's hat | ivory
grill | barbecue grill, charcoal grill | charcoal
blender | blender, food blender | red
toaster | toaster | steel
microwave | microwave, microwave oven | grey
fridge | fridge, refrigerator | sky blue
stove | stove, cooker, oven | grey
dishwasher | dishwasher | steel
washing_machine | washing machine, laundry machine | grey
iron | flat iron, clothes iron | teal
iron_board | ironing board | teal
scale | kitchen scale, kitchen scales | red
scale_balance | balance scale, weighing scale | mustard
room_service | serving cloche, covered serving dish | steel
baby_bottle | baby bottle, feeding bottle | pink
knife | kitchen knife, chef's knife | steel
spray_bottle | spray bottle | blue
lotion | soap dispenser, bottle of lotion | pink
fishbowl | fishbowl, goldfish bowl | sky blue
faucet | tap, faucet | steel
countertop | kitchen sink | grey
"""
