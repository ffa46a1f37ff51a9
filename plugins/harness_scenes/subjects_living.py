"""Animals, people, fantastic beings, plants and parts of bodies.

One line a subject: ``glyph | noun, synonym, ... | natural colour``, under a heading ``[kind]``. Nouns are
written in the singular; ``*`` before a noun marks one that English uses in the plural only ("a pair of
scissors").
"""

TABLE = """
[animal]
bat | bat, vampire bat, fruit bat | charcoal
bee | bee, honeybee, bumblebee | yellow
bird | bird, songbird, swallow | blue
butterfly | butterfly, swallowtail butterfly | orange
cat | cat, kitten, tomcat | orange
cow | cow, dairy cow | brown
dog | dog, puppy, spaniel | tan
dog_side | terrier, schnauzer | grey
dolphin | dolphin, porpoise | sky blue
donkey | donkey, mule | grey
duck | duck, duckling, rubber duck | yellow
elephant | elephant, african elephant | grey
fish | fish, goldfish | orange
horse | horse, stallion, mare | brown
horse_variant | horse head, head of a horse | brown
jellyfish | jellyfish | pink
kangaroo | kangaroo, wallaby | tan
koala | koala, koala bear | grey
ladybug | ladybird, ladybug | red
owl | owl, night owl, barn owl | brown
panda | panda, panda bear, giant panda | charcoal
penguin | penguin, emperor penguin | charcoal
pig | pig, piglet, hog | pink
rabbit | rabbit, hare | tan
rabbit_variant | bunny, bunny rabbit | beige
rodent | rat, mouse | grey
shark | shark, great white shark | grey
shark_fin | shark fin | grey
sheep | sheep, ewe, lamb | beige
snail | snail, garden snail | brown
snake | snake, cobra, viper | green
spider | spider, tarantula | charcoal
spider_thread | dangling spider | charcoal
tortoise | tortoise, giant tortoise | olive
turtle | turtle, sea turtle | green
turkey | turkey, turkey cock | brown
bug | beetle, scarab beetle | green
google_downasaur | tyrannosaur, dinosaur, t-rex | green
unicorn | unicorn | lavender
unicorn_variant | unicorn head, head of a unicorn | lavender

[person]
alien | alien, extraterrestrial, little alien | lime green
ghost | ghost, phantom, spectre | ivory
robot | robot, android, robot head | steel
robot_happy | laughing robot, happy robot | turquoise
robot_angry | angry robot, scowling robot | red
pirate | pirate, buccaneer | tan
ninja | ninja, ninja warrior | charcoal
robber | bandit, masked bandit | charcoal
snowman | snowman | ivory
teddy_bear | teddy bear, stuffed bear | brown
baby_face | laughing baby, baby face | peach
face_man | boy, young man | peach
face_woman | woman, young woman | peach
mother_nurse | mother with a baby, nursing mother | coral
doctor | doctor, physician | ivory
account_cowboy_hat | cowboy, rancher | tan
account_hard_hat | builder, construction worker | orange
account_tie_hat | pilot, sea captain, chauffeur | navy blue
account_school | graduate, student in a mortarboard | charcoal
account_tie_woman | businesswoman | purple
account_tie | businessman, gentleman in a tie | navy blue
human_cane | elderly man with a cane, walker with a cane | grey
human_female_dance | dancing girl, dancer | magenta
walk | pedestrian, strolling man | teal
run | runner, jogger, sprinter | red
hiking | hiker, backpacker, mountaineer | olive
horse_human | horse rider, rider on horseback | brown
swim | swimmer | blue
surfing | surfer, wave rider | teal
skateboarding | skateboarder, skater | purple
ski | skier, downhill skier | blue
snowboard | snowboarder | lime green
yoga | yogi, woman doing yoga | magenta
meditation | meditating monk, meditating man | orange
karate | karate fighter, martial artist | ivory
kayaking | kayaker, canoeist | orange
rowing | rower, oarsman | red
gymnastics | gymnast | magenta
weight_lifter | weightlifter, strongman | crimson
handball | handball player | blue
dance_ballroom | dancing couple, waltzing couple | purple
diving | high diver | sky blue
diving_scuba | scuba diver | teal
sledding | sledder, child on a sledge | red
kitesurfing | kitesurfer, windsurfer | turquoise
ski_cross_country | cross-country skier | navy blue
ski_water | water skier | red
baby | crawling baby, infant | peach
emoticon_happy | smiley face, smiling face | yellow
emoticon_cool | smiley in sunglasses | yellow
pac_man | hungry ball with a mouth | yellow

[body]
bone | bone, dog bone | ivory
paw | paw print, animal track | brown
feather | feather, plume | sky blue
egg | egg, hen's egg | ivory
egg_easter | easter egg, decorated egg | pink
virus | virus, spiky virus | lime green
bacteria | bacterium | lime green
brain | brain, human brain | pink
skull | skull, human skull | ivory
skull_crossbones | skull and crossbones | ivory
eye | eye, staring eye | blue
tooth | tooth, molar | ivory
foot_print | footprint, bare footprint | tan
lungs | *lungs | coral
mustache | moustache, handlebar moustache | brown
hand_wave | waving hand | peach
hand_peace | hand making a peace sign | peach
hand_back_right | raised hand, open hand | peach
arm_flex | flexed arm, muscular arm | peach
thumb_up | thumb, raised thumb | peach
spider_web | spider web, cobweb | grey
dna | dna helix, double helix | purple

[plant]
flower | flower, daisy, blossom | pink
flower_tulip | tulip | red
flower_poppy | poppy, poppy flower | red
tree | tree, oak tree, leafy tree | green
pine_tree | pine tree, fir tree, spruce | emerald
palm_tree | palm tree, coconut palm | green
leaf | leaf, broad leaf | green
leaf_maple | maple leaf, autumn leaf | orange
clover | four-leaf clover, clover | emerald
cactus | cactus, desert cactus | green
mushroom | mushroom, toadstool, fungus | red
grass | tuft of grass, clump of grass | green
sprout | seedling, sprout | lime green
barley | ear of barley, stalk of wheat | mustard
spa | lotus flower, lotus | pink
hops | hop cone | lime green
bee_flower | bee on a flower, bee visiting a blossom | yellow
seed | seed, almond | brown
"""
