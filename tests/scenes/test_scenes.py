"""The embedded synthetic scenes: reproducible, varied, and showing what their prompts say."""

from __future__ import annotations

import colorsys
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from harness_scenes import VERSION, Scene, compose, draw
from harness_scenes.attributes import COLOURS, FINISHES, MATERIALS, PATTERNS, SKINS
from harness_scenes.backdrops import PAINTERS
from harness_scenes.english import plural, with_article
from harness_scenes.glyphs import exists, ink
from harness_scenes.model import Look, Placement
from harness_scenes.places import LAMPS, LIGHTS, PLACES, UNNAMED
from harness_scenes.relations import RELATIONS
from harness_scenes.renderings import RENDERINGS
from harness_scenes.styles import STYLES
from harness_scenes.subjects import SUBJECTS

MANY = 20_000

# The only words the grammar may put behind an article against the spelling rule, by sound.
A_BEFORE_VOWEL = {"unicorn", "unicycle", "ufo"}
AN_BEFORE_CONSONANT = {"hourglass", "8-bit"}

FINGERPRINT = """
import hashlib
from harness_scenes import compose, draw
digest = hashlib.sha256()
for index in {indices}:
    scene = compose({seed}, index)
    digest.update(repr(scene).encode())
    digest.update(draw(scene, 48).tobytes())
print(digest.hexdigest())
"""


@lru_cache(maxsize=1)
def many() -> list[Scene]:
    return [compose(11, index) for index in range(MANY)]


def fingerprint(seed: int, indices: list[int]) -> str:
    digest = hashlib.sha256()
    for index in indices:
        scene = compose(seed, index)
        digest.update(repr(scene).encode())
        digest.update(draw(scene, 48).tobytes())
    return digest.hexdigest()


def single(look: Look, *, style: str = "plain", glyph: str = "elephant", place: str = "studio") -> Scene:
    placement = Placement(glyph, "first", (0.15, 0.15, 0.85, 0.85), look)
    return Scene("", style, place, "day", (placement,), "elephant", "", "", 1, "", 5)


def pixels(scene: Scene, size: int = 96) -> np.ndarray:
    return np.asarray(draw(scene, size), dtype=np.float64)


def middle_of(placement: Placement) -> tuple[float, float]:
    left, top, right, bottom = placement.box
    return (left + right) / 2, (top + bottom) / 2


def without_style(scene: Scene) -> str:
    said = scene.prompt
    style = STYLES[scene.style]
    for words in sorted((*style.leads, *style.tags), key=len, reverse=True):
        said = said.replace(words, "")
    return said


def of_relation(relation: str, count: int = 40) -> list[Scene]:
    found = [scene for scene in many() if scene.relation == relation][:count]
    assert len(found) == count
    return found


def test_version_is_a_plain_string():
    assert isinstance(VERSION, str)
    assert VERSION


def test_scene_is_frozen():
    with pytest.raises(AttributeError):
        compose(0, 0).prompt = "another"  # type: ignore[misc]


def test_same_seed_and_index_give_the_same_scene_and_pixels():
    for index in range(40):
        once, again = compose(3, index), compose(3, index)
        assert once == again
        assert np.array_equal(pixels(once), pixels(again))


def test_a_fresh_process_with_another_hash_seed_gives_the_same():
    indices = list(range(0, 60, 2))
    expected = fingerprint(5, indices)
    for hash_seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", FINGERPRINT.format(seed=5, indices=indices)],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_scenes_do_not_depend_on_the_order_they_are_made_in():
    indices = list(range(200, 230))
    forwards = {index: (compose(1, index), draw(compose(1, index), 32).tobytes()) for index in indices}
    backwards = {index: (compose(1, index), draw(compose(1, index), 32).tobytes()) for index in reversed(indices)}
    assert forwards == backwards


def test_seed_and_index_both_matter():
    assert len({compose(seed, 17).prompt for seed in range(30)}) > 25
    assert compose(2, 3).prompt != compose(3, 2).prompt


def test_importing_stays_light():
    code = (
        "import sys, harness_scenes as s; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'sklearn', 'PIL.Image', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_subject_has_a_glyph_with_ink_and_a_known_colour():
    glyphs = [subject.glyph for subject in SUBJECTS]
    assert len(glyphs) == len(set(glyphs)) >= 300
    for subject in SUBJECTS:
        assert exists(subject.glyph), subject.glyph
        assert subject.colour in COLOURS
        shape = np.asarray(ink(subject.glyph))
        assert (shape > 128).mean() > 0.02, subject.glyph
        assert max(shape.shape) > 100, subject.glyph


def test_glyphs_of_different_subjects_look_different():
    digests = Counter(hashlib.sha256(ink(subject.glyph).tobytes()).hexdigest() for subject in SUBJECTS)
    assert max(digests.values()) == 1


def test_a_glyph_that_does_not_exist_is_reported():
    assert not exists("no_such_glyph")
    with pytest.raises(AttributeError):
        ink("no_such_glyph")


def test_prompts_are_distinct():
    prompts = [scene.prompt for scene in many()[:2000]]
    assert len(set(prompts)) >= 0.97 * len(prompts)


def test_prompts_are_clean_sentences_of_varied_length():
    lengths = []
    for scene in many():
        prompt = scene.prompt
        assert prompt == prompt.strip()
        assert not re.search(r"[{}_*]|  |,,|\.\.| ,| \.", prompt), prompt
        lengths.append(len(prompt.split()))
    assert min(lengths) <= 4
    assert max(lengths) >= 25
    assert np.std(lengths) > 4


def test_articles_fit_the_words_behind_them():
    for scene in many():
        for article, word in re.findall(r"\b(an?) ([a-z0-9][\w'-]*)", scene.prompt.lower()):
            vowel = word[0] in "aeiou"
            if word in A_BEFORE_VOWEL:
                vowel = False
            if word in AN_BEFORE_CONSONANT:
                vowel = True
            assert article == ("an" if vowel else "a"), f"{article} {word}: {scene.prompt}"


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("unicorn", "a unicorn"),
        ("unicycle", "a unicycle"),
        ("ufo", "a ufo"),
        ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"),
        ("house", "a house"),
        ("upside-down cat", "an upside-down cat"),
        ("owl", "an owl"),
    ],
)
def test_articles_by_sound(noun: str, expected: str):
    assert with_article(noun) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("slice of pizza", "slices of pizza"),
        ("kitchen knife", "kitchen knives"),
        ("maple leaf", "maple leaves"),
        ("snowman", "snowmen"),
        ("woman doing yoga", "women doing yoga"),
        ("person on a bicycle", "people on a bicycle"),
        ("goldfish", "goldfish"),
        ("sheep", "sheep"),
        ("cherry", "cherries"),
        ("donkey", "donkeys"),
        ("torch", "torches"),
        ("die", "dice"),
        ("mouse", "mice"),
        ("cactus", "cacti"),
    ],
)
def test_plurals(noun: str, expected: str):
    assert plural(noun) == expected


def test_hundreds_of_subjects_turn_up_with_a_long_tail():
    counts = Counter(scene.placements[-1].glyph for scene in many())
    assert len(counts) >= 300
    ordered = sorted(counts.values(), reverse=True)
    assert ordered[0] >= 15 * np.median(ordered)
    rare_half = sum(ordered[len(ordered) // 2 :])
    assert 0.05 < rare_half / MANY < 0.35


def test_every_key_of_the_vocabulary_turns_up():
    scenes = many()
    assert {scene.style for scene in scenes} == set(STYLES)
    assert {scene.place for scene in scenes} == set(PLACES) | set(UNNAMED)
    assert {scene.light for scene in scenes} == set(LIGHTS) | set(LAMPS) | {"day"}
    assert {scene.relation for scene in scenes} == set(RELATIONS) | {""}
    looks = [placement.look for scene in scenes for placement in scene.placements]
    assert {look.texture for look in looks if ":" not in look.texture} == {
        "plain",
        *MATERIALS,
        *SKINS,
        *PATTERNS,
    }
    assert {look.finish for look in looks} == {"none", *FINISHES}


def test_the_prompt_names_its_subjects():
    for scene in many()[:4000]:
        for noun in filter(None, (scene.first, scene.second)):
            assert noun in scene.prompt or plural(noun) in scene.prompt, (noun, scene.prompt)


def test_the_prompt_names_style_place_and_light():
    for scene in many()[:4000]:
        style = STYLES[scene.style]
        if style.tags:
            assert any(words in scene.prompt for words in (*style.leads, *style.tags)), scene
        if scene.place in PLACES and scene.place != "plain":
            assert any(words in scene.prompt for words in PLACES[scene.place].phrases), scene
        if scene.light != "day":
            assert any(words in scene.prompt for words in {**LIGHTS, **LAMPS}[scene.light].phrases), scene


def test_styles_without_colours_get_prompts_without_colours():
    colour_words = {"red", "blue", "yellow", "purple", "pink", "turquoise", "crimson", "magenta", "golden"}
    for scene in many():
        if STYLES[scene.style].colours:
            continue
        said = without_style(scene)
        for place in PLACES.values():
            for phrase in place.phrases:
                said = said.replace(phrase, "")
        for noun in (scene.first, scene.second, "made of red bricks", "golden honeycomb"):
            said = said.replace(noun, "") if noun else said
        assert not colour_words & set(re.findall(r"[a-z]+", said)), scene.prompt


def test_every_painter_belongs_to_a_place_and_every_style_has_a_rendering():
    assert set(PAINTERS) | {"plain"} == set(PLACES) | set(UNNAMED)
    assert set(RENDERINGS) == set(STYLES)


@pytest.mark.parametrize("size", [16, 64, 128, 224])
def test_pictures_are_rgb_of_the_size_asked_for(size: int):
    for index in range(6):
        picture = draw(compose(9, index), size)
        assert picture.mode == "RGB"
        assert picture.size == (size, size)


def test_too_small_a_size_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        draw(compose(0, 0), 8)


def test_all_styles_places_and_lights_draw_without_complaint():
    scene = single(Look("orange"))
    shown = {}
    for style in STYLES:
        shown["style", style] = pixels(replace(scene, style=style))
    for place in (*PLACES, *UNNAMED):
        shown["place", place] = pixels(replace(scene, place=place, backdrop_colour="green"))
    for light in (*LIGHTS, *LAMPS):
        shown["light", light] = pixels(replace(scene, place="open", light=light))
    for key, values in shown.items():
        assert values.std() > 8, key


def test_places_differ_from_one_another():
    empty = replace(single(Look("orange")), placements=())
    seen = {place: pixels(replace(empty, place=place, backdrop_colour="red"), 64) for place in PLACES}
    for one, values in seen.items():
        for other, others in seen.items():
            if one < other:
                assert np.abs(values - others).mean() > 9, (one, other)


def test_lights_differ_from_plain_day():
    empty = replace(single(Look("orange")), placements=(), place="hills")
    day = pixels(empty)
    for light in LIGHTS:
        changed = np.abs(pixels(replace(empty, light=light)) - day).max(axis=2) > 24
        assert changed.mean() > 0.008, light


def test_styles_change_the_pixels_strongly():
    scene = replace(single(Look("red", "white", "dots")), place="beach")
    shown = {style: pixels(replace(scene, style=style), 128) for style in STYLES}
    for one, values in shown.items():
        for other, others in shown.items():
            if one < other:
                least = 3 if {one, other} == {"photo", "plain"} else 9
                assert np.abs(values - others).mean() > least, (one, other)


def test_materials_patterns_and_finishes_are_visible():
    plain = pixels(single(Look("blue")))
    looks = [Look("blue", texture=key) for key in (*MATERIALS, *SKINS)]
    looks += [Look("blue", "yellow", key) for key in PATTERNS]
    looks += [Look("blue", "yellow", "glyph:star")]
    looks += [Look("blue", finish=key) for key in FINISHES]
    looks += [Look("blue", angle=180), Look("blue", angle=28), Look("blue", angle=90)]
    for look in looks:
        changed = np.abs(pixels(single(look)) - plain).max(axis=2) > 30
        assert changed.mean() > 0.02, look


@pytest.mark.parametrize(
    "colour", ["red", "orange", "yellow", "green", "turquoise", "blue", "purple", "magenta", "pink"]
)
@pytest.mark.parametrize("style", ["plain", "photo"])
def test_a_named_colour_is_the_colour_of_the_subject(colour: str, style: str):
    scene = single(Look(colour), style=style, glyph="heart")
    patch = pixels(scene, 128)[44:70, 48:80].reshape(-1, 3).mean(axis=0) / 255
    hue, saturation, _ = colorsys.rgb_to_hsv(*patch)
    wanted, _, _ = colorsys.rgb_to_hsv(*(value / 255 for value in COLOURS[colour]))
    assert min(abs(hue - wanted), 1 - abs(hue - wanted)) < 0.05
    assert saturation > 0.25


def test_composed_colours_reach_the_pixels():
    checked = 0
    for scene in many():
        placement = scene.placements[-1]
        look = placement.look
        if (
            scene.style != "plain"
            or scene.light != "day"
            or scene.count != 1
            or scene.relation
            or look.texture != "plain"
            or look.finish != "none"
        ):
            continue
        left, top, right, bottom = (round(value * 128) for value in placement.box)
        region = pixels(scene, 128)[max(0, top) : bottom, max(0, left) : right].reshape(-1, 3)
        near = np.abs(region - np.asarray(COLOURS[look.colour])).max(axis=1) < 46
        assert near.mean() > 0.02, scene.prompt
        checked += 1
        if checked == 60:
            break
    assert checked == 60


@pytest.mark.parametrize("relation", ["left", "right"])
def test_left_and_right_are_as_said(relation: str):
    for scene in of_relation(relation):
        first, second = sorted(scene.placements, key=lambda placement: placement.role)
        if relation == "left":
            assert first.box[2] <= second.box[0] + 1e-9, scene.prompt
        else:
            assert second.box[2] <= first.box[0] + 1e-9, scene.prompt


def test_left_of_is_left_in_the_pixels():
    for scene in of_relation("left", 12):
        bare = replace(scene, style="plain", light="day", place="studio")
        first, second = sorted(bare.placements, key=lambda placement: placement.role)
        empty = pixels(replace(bare, placements=()))
        columns = {}
        for placement in (first, second):
            one = replace(placement, look=Look("magenta", mirrored=placement.look.mirrored))
            changed = np.abs(pixels(replace(bare, placements=(one,))) - empty).sum(axis=2)
            columns[placement.role] = (changed.sum(axis=0) * np.arange(96)).sum() / changed.sum()
        assert columns["first"] < columns["second"], scene.prompt


@pytest.mark.parametrize(("relation", "upper"), [("on", "first"), ("above", "first"), ("under", "second")])
def test_upper_and_lower_are_as_said(relation: str, upper: str):
    for scene in of_relation(relation):
        first, second = sorted(scene.placements, key=lambda placement: placement.role)
        high, low = (first, second) if upper == "first" else (second, first)
        assert high.box[3] <= low.box[1] + 0.03, scene.prompt
        assert (high.anchor, low.anchor) == ("bottom", "top")
        apart = low.box[1] - high.box[3]
        assert apart > 0.02 if relation == "above" else apart < 0.01


@pytest.mark.parametrize(("relation", "front"), [("front", "first"), ("behind", "second")])
def test_what_is_in_front_is_painted_last_and_overlaps(relation: str, front: str):
    for scene in of_relation(relation):
        back, near = scene.placements
        assert near.role == front
        assert near.box[0] < back.box[2]
        assert back.box[0] < near.box[2]
        assert near.box[3] > back.box[3] - 1e-9


def test_a_ring_encloses_its_middle():
    for scene in of_relation("ring", 20):
        around = [middle_of(placement) for placement in scene.placements if placement.role == "second"]
        (centre,) = [middle_of(placement) for placement in scene.placements if placement.role == "first"]
        assert len(around) >= 6
        turns = sorted(np.arctan2(y - centre[1], x - centre[0]) for x, y in around)
        gaps = np.diff([*turns, turns[0] + 2 * np.pi])
        assert max(gaps) < np.pi / 2


def test_between_holding_dwarfed_and_twin():
    for scene in of_relation("between", 20):
        xs = sorted((middle_of(placement)[0], placement.role) for placement in scene.placements)
        assert [role for _, role in xs] == ["second", "first", "second"]
    for scene in of_relation("holding", 20):
        holder, held = scene.placements
        assert (holder.role, held.role) == ("first", "second")
        assert held.box[3] - held.box[1] < 0.7 * (holder.box[3] - holder.box[1])
    for scene in of_relation("dwarfed", 20):
        big, small = scene.placements
        assert (big.role, small.role) == ("second", "first")
        assert big.box[3] - big.box[1] > 2.5 * (small.box[3] - small.box[1])
    for scene in of_relation("twin", 20):
        one, other = scene.placements
        assert (one.glyph, one.look) == (other.glyph, other.look)


def test_counts_are_drawn_as_said():
    numbers = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "dozen": 12}
    seen = Counter()
    for scene in many():
        if scene.count == 1 or scene.relation:
            continue
        assert len(scene.placements) == scene.count
        body = without_style(scene).split(plural(scene.first))[0].lower()
        said = [numbers[word] for word in re.findall(r"[a-z]+", body) if word in numbers]
        if said:
            assert scene.count in said, scene.prompt
            seen[scene.count] += 1
    assert set(seen) >= {2, 3, 4, 5, 6, 8, 12}


def test_tiny_and_huge_subjects_differ_in_size():
    sides: dict[str, list[float]] = {"tiny": [], "huge": []}
    for scene in many():
        if scene.count == 1 and not scene.relation:
            for word, found in sides.items():
                if re.search(rf"\b{word}\b (?!{{)", scene.prompt) and "made of" not in scene.prompt:
                    left, _, right, _ = scene.placements[0].box
                    found.append(right - left)
    assert len(sides["tiny"]) > 20
    assert len(sides["huge"]) > 20
    assert max(sides["tiny"]) * 2 < min(sides["huge"])


def test_subjects_stay_on_the_picture():
    for scene in many():
        for placement in scene.placements:
            left, top, right, bottom = placement.box
            assert left > -0.06, scene.prompt
            assert top > -0.06, scene.prompt
            assert right < 1.06, scene.prompt
            assert bottom < 1.06, scene.prompt


def test_subjects_stand_out_from_their_backdrop():
    faint = 0
    scenes = [scene for scene in many() if scene.style in ("plain", "photo")][:150]
    for scene in scenes:
        with_subjects, without = pixels(scene), pixels(replace(scene, placements=()))
        faint += (np.abs(with_subjects - without).max(axis=2) > 40).mean() < 0.02
    assert faint <= 3
