"""The grammar: from a seed and an index to a scene with its prompt."""

from __future__ import annotations

from itertools import accumulate

from .chance import Chance
from .english import with_article
from .model import Box, Placement, Scene
from .phrases import Phrase, choose_subject, noun_phrase, plural_phrase
from .places import LAMPS, LIGHTS, PLACES, PLAIN_COLOURS, UNNAMED
from .relations import RELATIONS, SIZED, pair_boxes, single_boxes
from .styles import STYLE_CUMULATED, STYLE_KEYS, STYLES, Style
from .subjects import HOLDERS, Subject

_RELATION_KEYS = tuple(RELATIONS)
_RELATION_CUMULATED = tuple(accumulate(relation.weight for relation in RELATIONS.values()))
_PLACE_KEYS = {False: tuple(PLACES), True: tuple(key for key, place in PLACES.items() if place.tonal)}
_LIGHT_KEYS = {False: tuple(LIGHTS), True: tuple(key for key, light in LIGHTS.items() if light.tonal)}
_LAMP_KEYS = {False: tuple(LAMPS), True: tuple(key for key, lamp in LAMPS.items() if lamp.tonal)}
_NO_LAMP = frozenset({"underwater", "space", "moon", "mars", "grid", "bathroom"})
# On blossoms and bubbles these could not be told from the place itself.
_CLASHES = frozenset({("blossom", "petals"), ("clouds", "overcast"), ("snowfield", "snowfall"), ("plain", "disco")})

# Sentences by what they have to hold: who, where (the place) and when (the light). The flag says whether a
# lead such as "a photo of" can stand before the sentence.
_WHO = (("{who}", True),)
_WHO_WHERE = (
    ("{who} {where}", True),
    ("{who} {where}", True),
    ("{who}, {where}", True),
    ("{who} seen {where}", True),
    ("{who} found {where}", True),
    ("{where}, {who}", False),
    ("{where} we see {who}", False),
    ("a scene {where} with {who}", True),
    ("{who}. {where}.", False),
)
_WHO_WHEN = (
    ("{who} {when}", True),
    ("{who} {when}", True),
    ("{who}, {when}", True),
    ("{when}, {who}", False),
    ("{when}: {who}", False),
)
_ALL = (
    ("{who} {where} {when}", True),
    ("{who} {where}, {when}", True),
    ("{who} {when} {where}", True),
    ("{who}, {where}, {when}", True),
    ("{when}, {who} {where}", False),
    ("{where}, {who} {when}", False),
    ("{where} {when}, {who}", False),
    ("{when} {where} we see {who}", False),
    ("a view {where} {when}, with {who}", True),
    ("{who}. {where}, {when}.", False),
)
_END_ONLY = ("in ", "made ", "built ", "as ", "embroidered ", "painted ", "woven ")


def _place(tonal: bool, chance: Chance) -> tuple[str, str, str]:
    """Choose a place; return its key, its phrase and the colour it is painted in, where it has one."""
    if not chance.often(0.7):
        return ("studio" if chance.often(0.5) else "open"), "", ""
    key = chance.pick(_PLACE_KEYS[tonal])
    phrase = chance.pick(PLACES[key].phrases)
    if key != "plain":
        return key, phrase, ""
    colour, word = chance.pick(PLAIN_COLOURS)
    return key, phrase.replace("a {}", with_article(word)), colour


def _light(place: str, sky: bool, tonal: bool, chance: Chance) -> tuple[str, str]:
    """Choose a light that can be drawn in the place; return its key and phrase."""
    if place in _NO_LAMP or not chance.often(0.42 if sky else 0.2):
        return "day", ""
    key = chance.pick((_LIGHT_KEYS if sky else _LAMP_KEYS)[tonal])
    if (place, key) in _CLASHES:
        return "day", ""
    return key, chance.pick((LIGHTS if sky else LAMPS)[key].phrases)


def _countable(subject: Subject) -> bool:
    return all(noun.countable for noun in subject.nouns)


def _relation(first: Subject, second: Subject, fine: bool, chance: Chance) -> str:
    """Choose a relation that can be said of the two and told in the picture."""
    key = chance.weighted(_RELATION_KEYS, _RELATION_CUMULATED)
    if first.glyph == second.glyph or (key == "holding" and first.kind not in HOLDERS):
        key = "twin"
    if key == "twin" and not _countable(first):
        # A thing has no twin that is named in the plural only; with another subject it can stand beside it.
        return "beside"
    if key in ("ring", "between") and not _countable(second):
        return "front"
    if key in ("ring", "dwarfed") and not fine:
        return "between" if _countable(second) else "behind"
    return key


def _placed(phrase: Phrase, role: str, boxes: list[Box], anchor: str) -> list[Placement]:
    return [Placement(phrase.subject.glyph, role, box, phrase.look, anchor) for box in boxes]


def _pair(
    first: Phrase, relation: str, second: Subject, ground: float, style: Style, avoid: str, chance: Chance
) -> tuple[str, str, list[Placement]]:
    """Compose the words for two subjects and place them; return the words, the second noun and placements."""
    tonal = not style.colours
    form = chance.pick(RELATIONS[relation].forms)
    noun = chance.pick(second.nouns)
    if relation == "twin":
        text = form.format(a=first.text, n=first.noun.one)
        other = first
    elif "{bs}" in form:
        words, look = plural_phrase(second, noun, chance, tonal=tonal, avoid=avoid)
        text = form.format(a=first.text, bs=words)
        other = Phrase(words, second, noun, look, 1.0, 2, "row")
    else:
        other = noun_phrase(
            second, chance, tonal=tonal, fine=style.fine, sized=relation in SIZED, avoid=avoid, richness=0.75
        )
        text = form.format(a=first.text, b=other.text)
    sizes = (first.size, other.size)
    ones, others, first_in_front = pair_boxes(relation, sizes, ground, chance)
    touching = relation in ("on", "under", "above")
    lower_second = relation in ("on", "above")
    middle = relation in ("ring",)
    one_anchor = "centre" if middle else ("top" if touching and not lower_second else "bottom")
    other_anchor = "centre" if middle or relation == "holding" else ("top" if lower_second else "bottom")
    placed = _placed(first, "first", ones, one_anchor)
    beside = _placed(other, "second", others, other_anchor)
    return text, other.noun.one, (beside + placed if first_in_front else placed + beside)


def _join_style(style: Style, core: str, led: bool, chance: Chance) -> str:
    """Add the style's words to a sentence."""
    if not style.tags:
        return core
    if led and chance.often(0.55):
        return f"{chance.pick(style.leads)} {core}"
    tag = chance.pick(style.tags)
    core = core.rstrip(".")
    if tag.startswith(_END_ONLY) or chance.often(0.75):
        return f"{core}, {tag}"
    return f"{tag}: {core}" if chance.often(0.5) else f"{tag}, {core}"


def _sentence(who: str, where: str, when: str, style: Style, chance: Chance) -> str:
    forms = (_ALL if when else _WHO_WHERE) if where else (_WHO_WHEN if when else _WHO)
    pattern, led = chance.pick(forms)
    if who.startswith("on the left"):
        led = False
    return _join_style(style, pattern.format(who=who, where=where, when=when), led, chance)


def compose(seed: int, index: int) -> Scene:
    """Compose one scene; see `harness_scenes.compose`."""
    chance = Chance(seed, index)
    style_key = chance.weighted(STYLE_KEYS, STYLE_CUMULATED)
    style = STYLES[style_key]
    tonal = not style.colours
    place, where, backdrop_colour = _place(tonal, chance)
    told = PLACES[place] if place in PLACES else UNNAMED[place]
    light, when = _light(place, told.sky, tonal, chance)
    paired = chance.often(0.5)
    subject = choose_subject(chance)
    other = choose_subject(chance)
    relation = _relation(subject, other, style.fine, chance) if paired else ""
    first = noun_phrase(
        subject,
        chance,
        tonal=tonal,
        fine=style.fine,
        sized=not paired or relation in SIZED,
        avoid=backdrop_colour,
        group=not paired and chance.often(0.3),
    )
    second = ""
    if paired:
        who, second, placements = _pair(first, relation, other, told.ground, style, backdrop_colour, chance)
    else:
        who = first.text
        boxes = single_boxes(first.count, first.arrangement, first.size, told.ground, chance)
        placements = _placed(first, "first", boxes, "centre" if first.arrangement == "ring" else "bottom")
    return Scene(
        prompt=_sentence(who, where, when, style, chance),
        style=style_key,
        place=place,
        light=light,
        placements=tuple(placements),
        first=first.noun.one,
        second=second,
        relation=relation,
        count=first.count,
        backdrop_colour=backdrop_colour,
        noise=chance.whole(1 << 48),
    )
