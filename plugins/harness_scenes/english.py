"""Articles and plurals."""

from __future__ import annotations

_A_DESPITE_VOWEL = ("uni", "ufo", "eu", "one-", "use", "uku", "uto", "ura")
_AN_DESPITE_CONSONANT = ("hour", "honest", "heir", "x-ray", "8", "11", "18")
_NOT_UNI = ("unin", "unim")

_IRREGULAR = {
    "mouse": "mice",
    "sheep": "sheep",
    "fish": "fish",
    "goldfish": "goldfish",
    "jellyfish": "jellyfish",
    "person": "people",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "cactus": "cacti",
    "fungus": "fungi",
    "bacterium": "bacteria",
    "die": "dice",
    "spacecraft": "spacecraft",
    "hogweed": "hogweed",
    "lens": "lenses",
    "lotus": "lotuses",
    "piano": "pianos",
    "photo": "photos",
    "radio": "radios",
    "ufo": "ufos",
    "taco": "tacos",
    "burrito": "burritos",
    "hippo": "hippos",
    "volcano": "volcanoes",
    "tornado": "tornadoes",
    "buffalo": "buffaloes",
    "flamingo": "flamingos",
    "yo-yo": "yo-yos",
    "silo": "silos",
    "buccaneer": "buccaneers",
}
# A noun phrase is made plural at its head, which stands before the first of these.
_AFTER_HEAD = (
    " of ",
    " with ",
    " in ",
    " on ",
    " by ",
    " under ",
    " making ",
    " visiting ",
    " taking ",
    " doing ",
)


def article(phrase: str) -> str:
    """Return ``"a"`` or ``"an"``, whichever goes before the phrase."""
    if phrase.startswith(_A_DESPITE_VOWEL) and not phrase.startswith(_NOT_UNI):
        return "a"
    if phrase.startswith(_AN_DESPITE_CONSONANT) or phrase[:1] in "aeiou":
        return "an"
    return "a"


def with_article(phrase: str) -> str:
    """Return the phrase with the right indefinite article before it."""
    return f"{article(phrase)} {phrase}"


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("fish"):
        return word
    if word.endswith("man"):
        return word[:-3] + "men"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def plural(noun: str) -> str:
    """Return the plural of a noun phrase, made at its head ("slices of pizza")."""
    cut = min((at for at in (noun.find(mark) for mark in _AFTER_HEAD) if at > 0), default=len(noun))
    before, _, head = noun[:cut].rpartition(" ")
    return f"{before} {_plural_word(head)}".strip() + noun[cut:]
