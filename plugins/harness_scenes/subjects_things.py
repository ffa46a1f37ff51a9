"""Furniture, instruments, toys, tools, clothing and other objects, in the format of `subjects_living`."""

TABLE = """
[furniture]
bed | bed, single bed | blue
bed_king | double bed, king-size bed | purple
bunk_bed | bunk bed | lime green
sofa | sofa, couch, settee | teal
sofa_single | armchair, easy chair | maroon
chair_rolling | office chair, swivel chair | charcoal
stool | stool, bar stool | brown
table_furniture | table, dining table | brown
table_picnic | picnic table | tan
desk | desk, writing desk | brown
desk_lamp | desk lamp, anglepoise lamp | red
floor_lamp | floor lamp, standard lamp | mustard
lamp | table lamp, bedside lamp | peach
lava_lamp | lava lamp | magenta
chandelier | chandelier | mustard
ceiling_fan | ceiling fan | brown
candle | candle, burning candle | ivory
candelabra_fire | candelabra, lit candelabra | mustard
oil_lamp | oil lamp, genie lamp | mustard
torch | flaming torch, olympic torch | orange
lightbulb_on | shining light bulb, light bulb | yellow
flashlight | flashlight, pocket torch | charcoal
string_lights | string of lights, garland of fairy lights | yellow
wardrobe | wardrobe | brown
dresser | chest of drawers, dresser | tan
cupboard | cupboard, sideboard | brown
bookshelf | row of books | emerald
library_shelves | bookcase, library shelf | brown
coat_rack | coat rack, coat stand | brown
mirror | mirror, oval mirror | lavender
rug | rug, carpet | crimson
curtains | *curtains | crimson
shower | clawfoot bathtub, bathtub with a shower | ivory
toilet | toilet | ivory
fan | fan, propeller | sky blue
clock | clock, wall clock | mustard
clock_digital | digital clock | lime green
alarm | alarm clock | red
timer_sand | hourglass, sand timer | tan
watch | wristwatch, watch | charcoal
telescope | telescope, stargazer's telescope | mustard
typewriter | typewriter | emerald
phone_classic | rotary telephone, old telephone | red
television_classic | retro television, old television | brown
desktop_classic | vintage computer, desktop computer | beige
laptop | laptop, laptop computer | steel
keyboard | computer keyboard | grey
printer | printer | grey
camera | camera, photo camera | charcoal
video_vintage | film camera, movie camera | charcoal
projector | projector | grey
movie_open | clapperboard, film clapper | charcoal
filmstrip | strip of film, film strip | charcoal
radio | radio, transistor radio | mustard
boombox | boombox, ghetto blaster | purple
cassette | cassette tape, audio cassette | coral
album | vinyl record, record | charcoal
record_player | record player, turntable | brown
speaker | loudspeaker, speaker | charcoal
headphones | *headphones | purple
cellphone_basic | mobile phone, old mobile phone | navy blue
controller_classic | game controller, gamepad | purple
floppy | floppy disk, diskette | navy blue

[instrument]
piano | piano keyboard, set of piano keys | charcoal
guitar_acoustic | acoustic guitar, guitar | tan
guitar_electric | electric guitar, flying v guitar | red
violin | violin, fiddle, cello | brown
saxophone | saxophone | mustard
trumpet | trumpet | mustard
bugle | bugle, hunting horn | mustard
ocarina | ocarina | teal
metronome | metronome | brown
microphone_variant | microphone, stage microphone | steel
music_note | musical note, quaver | charcoal
music_clef_treble | treble clef | charcoal
instrument_triangle | triangle with its beater | steel

[game]
baseball | baseball | ivory
baseball_bat | baseball bat with a ball, bat and ball | tan
basketball | basketball | orange
basketball_hoop | basketball hoop | orange
football | american football | brown
rugby | rugby ball | maroon
soccer | football, soccer ball | ivory
volleyball | volleyball | yellow
tennis | tennis racket, tennis racquet | teal
tennis_ball | tennis ball | lime green
table_tennis | table tennis bat, ping-pong paddle | red
badminton | shuttlecock | ivory
bowling | bowling ball | navy blue
billiards | eight ball, billiard ball | charcoal
golf | golf flag by its hole, golf pin | green
hockey_sticks | *crossed hockey sticks | brown
cricket | cricket bat with a ball | tan
curling | curling stone | grey
boxing_glove | boxing glove | red
dumbbell | dumbbell | charcoal
kettlebell | kettlebell | charcoal
bow_arrow | bow and arrow | brown
bullseye | archery target, dartboard | red
trophy | trophy, winner's cup | mustard
medal | medal, winner's medal | mustard
whistle | whistle, referee's whistle | steel
boomerang | boomerang | tan
kite | kite, toy kite | magenta
balloon | balloon, party balloon | red
parachute | parachute | coral
pinwheel | pinwheel, toy windmill | turquoise
puzzle | jigsaw piece, puzzle piece | lime green
toy_brick | toy brick, building brick | red
dice_5 | die, gambling die | ivory
cards_playing | hand of playing cards, fan of cards | red
chess_king | chess king | charcoal
chess_queen | chess queen | ivory
chess_knight | chess knight | charcoal
chess_rook | chess rook, castle chess piece | ivory
chess_bishop | chess bishop | charcoal
chess_pawn | chess pawn, pawn | ivory
poker_chip | poker chip, casino chip | emerald
slot_machine | slot machine, fruit machine | magenta
drama_masks | *theatre masks | purple
guy_fawkes_mask | carnival mask, grinning mask | ivory
party_popper | party popper | magenta
firework | firework rocket, firework | coral
gift | gift, present, wrapped present | red
ornament | christmas bauble, bauble | crimson
stocking | christmas stocking, stocking | red
abacus | abacus | brown
globe_model | desk globe, terrestrial globe | teal
piggy_bank | piggy bank | pink
roller_skate | roller skate | lavender
skate | ice skate | sky blue
diving_snorkel | snorkel, diving mask and snorkel | turquoise
jump_rope | skipping rope | pink

[tool]
hammer | hammer, claw hammer | steel
wrench | spanner, wrench | steel
screwdriver | screwdriver | orange
hand_saw | hand saw, saw | steel
saw_blade | circular saw blade, saw blade | steel
axe | axe, hatchet | brown
axe_battle | battle axe, viking axe | steel
pickaxe | pickaxe | brown
shovel | shovel, spade | brown
rake | rake | brown
pitchfork | pitchfork | maroon
sickle | sickle | steel
broom | broom, besom | tan
bucket | bucket, pail | blue
brush | paintbrush, artist's brush | brown
format_paint | paint roller | orange
palette | painter's palette, palette | tan
ladder | ladder, step ladder | tan
anvil | anvil, blacksmith's anvil | charcoal
toolbox | toolbox | red
nail | nail, carpenter's nail | steel
screw_flat_top | screw | steel
pliers | *pliers | red
tape_measure | tape measure | yellow
pencil | pencil | yellow
fountain_pen | fountain pen | navy blue
ruler | ruler, measuring ruler | mustard
eraser | eraser | pink
content_cut | *scissors | steel
paperclip | paperclip | steel
pin | drawing pin, pushpin | red
needle | syringe, hypodermic needle | sky blue
key | key, door key | mustard
lock | padlock, lock | mustard
magnet | horseshoe magnet, magnet | red
magnify | magnifying glass | teal
microscope | microscope | navy blue
binoculars | *binoculars | charcoal
compass | compass, pocket compass | mustard
compass_rose | compass rose | teal
test_tube | test tube | turquoise
flask_round_bottom | round-bottomed flask, alchemist's flask | lime green
beaker | beaker, laboratory beaker | turquoise
pill | capsule, pill | red
stethoscope | stethoscope | navy blue
thermometer | thermometer | red
bandage | sticking plaster, band-aid | peach
medical_bag | first-aid kit, doctor's bag | red
cog | cogwheel, gear wheel | steel
gavel | gavel, judge's gavel | brown
anchor | anchor, ship's anchor | navy blue
ship_wheel | ship's wheel, helm | brown
lifebuoy | lifebuoy, life ring | orange
robot_industrial | robot arm, robot crane | orange
engine | engine, car engine | steel
tire | tyre, car tyre | charcoal
steering | steering wheel | charcoal
horseshoe | horseshoe | steel
fire_extinguisher | fire extinguisher | red
watering_can | watering can | emerald
vacuum | vacuum cleaner | red
hair_dryer | hair dryer | magenta
toothbrush | toothbrush | turquoise
smoking_pipe | smoking pipe, tobacco pipe | brown
gas_cylinder | gas bottle, gas cylinder | orange
cctv | security camera, surveillance camera | grey
satellite_uplink | satellite dish, radio dish | steel
bullhorn | megaphone, bullhorn | red
cash_register | cash register, till | emerald
atom | atom, atomic model | teal
fuel | jerrycan, fuel can | red

[treasure]
sword | sword, broadsword | steel
sword_cross | pair of crossed swords | steel
shield | shield, knight's shield | blue
shield_sword | crest with a sword, coat of arms with a sword | crimson
spear | spear, lance | brown
mace | mace, morning star | charcoal
shuriken | throwing star, shuriken | charcoal
bomb | bomb, round bomb | charcoal
mine | naval mine, sea mine | charcoal
magic_staff | magic wand, wizard's wand | purple
crystal_ball | crystal ball, fortune teller's ball | lavender
treasure_chest | treasure chest, pirate's chest | brown
diamond_stone | diamond, gemstone, jewel | sky blue
ring | diamond ring, engagement ring | mustard
necklace | necklace, pendant necklace | mustard
gold | stack of ingots, pile of ingots | mustard
sack | sack, sack of flour | tan
safe | safe, strongbox | steel
crown | crown, royal crown | mustard
heart | heart, love heart | red
heart_broken | broken heart | red
peace | peace sign, peace symbol | turquoise
yin_yang | yin-yang, yin-yang symbol | charcoal
fleur_de_lis | fleur-de-lis, heraldic lily | mustard
menorah_fire | menorah, lit menorah | mustard
octahedron | octahedron | purple
cube | cube | teal
script | scroll, rolled scroll | beige
book | book, hardback book | maroon
book_open_variant | open book, open novel | brown
newspaper | newspaper | grey
email | envelope, sealed letter | ivory
postage_stamp | postage stamp | coral
package_variant_closed | parcel, closed box | tan
trash_can | dustbin, trash can | grey
ticket | ticket, cinema ticket | coral
flag_variant | flag, waving flag | red
flag_checkered | chequered flag, racing flag | charcoal
windsock | windsock | orange
bell | bell, hand bell | mustard
umbrella | umbrella, open umbrella | purple
umbrella_closed | folded umbrella, closed umbrella | navy blue
handcuffs | *handcuffs | steel
paper_roll | toilet roll, roll of paper | ivory
bag_personal | backpack, rucksack | emerald
bag_suitcase | suitcase, wheeled suitcase | navy blue
briefcase | briefcase, attache case | brown
basket | shopping basket, basket | tan
purse | handbag, purse | magenta
wallet | wallet, billfold | brown
cash | banknote, dollar bill | emerald

[clothing]
racing_helmet | motorcycle helmet, racing helmet | red
football_helmet | american football helmet | blue
hard_hat | hard hat, safety helmet | yellow
hat_fedora | fedora, felt hat | brown
wizard_hat | wizard's hat, witch's hat | purple
diving_helmet | diving helmet, deep-sea diver's helmet | mustard
diving_flippers | *flippers | lime green
glasses | *spectacles, *glasses | charcoal
sunglasses | *sunglasses | charcoal
safety_goggles | *goggles | turquoise
hanger | coat hanger, clothes hanger | steel
tshirt_crew | t-shirt, shirt | blue
tie | necktie, tie | crimson
bow_tie | bow tie | red
shoe_sneaker | trainer, sneaker, running shoe | blue
shoe_heel | high heel, high-heeled shoe | red
shoe_formal | dress shoe, brogue | brown
shoe_ballet | *ballet shoes | pink
lingerie | bikini, swimsuit | magenta
domino_mask | domino mask, masquerade mask | purple
"""
