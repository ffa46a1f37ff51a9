"""Glyphs that look much the same when turned: of these no prompt says that they are tilted or upside-down."""

_TEXT = """
    album atom bandage barrel baseball basketball billiards
    bone bow_tie bowling bullseye candy cash clock
    clover cog compass compass_rose dice_5 dna door
    dumbbell emoticon_happy eye fan fence filmstrip flower_poppy
    football ladder lifebuoy lightning_bolt mine mirror ninja
    octahedron office_building pinwheel poker_chip pot quadcopter robber
    rug rugby saw_blade seed shield ship_wheel shuriken
    snowflake space_station stairs steering storage_tank tennis_ball ticket
    timer_sand tire toy_brick traffic_light trash_can treasure_chest wall
    wardrobe watch water_well white_balance_sunny window_closed
"""

SYMMETRIC: frozenset[str] = frozenset(_TEXT.split())
