"""vitgpt2: captions as transformers gives them, what is made of them, and what fine-tuning learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_vitgpt2 import VitGpt2Predictor
from harness_vitgpt2.config import TEMPERATURES
from harness_vitgpt2.training import rated_groups
from pydantic import ValidationError

from harness.data.cache import DiskCache
from harness.data.opening import open_dataset
from harness.data.targets import PromptEncoder
from harness.errors import InputError, NotFittedError
from harness.models import TINY_FOLDER
from harness.models.captioner import Caption, caption_images, load_captioner
from harness.plugin import Context, ParameterCount, PluginManager
from tests.vitgpt2.captioners import build, rows, save_captioner

TUNED = {"epochs": 30, "lr": 5e-3, "batch_size": 16}


def test_it_is_registered_with_both_presets() -> None:
    cls = PluginManager().predictor("vitgpt2")
    assert cls is VitGpt2Predictor
    assert set(cls.presets) == {"tiny", "reference"}
    for preset in cls.presets.values():
        cls.Config(**preset)
    assert cls.presets["reference"]["captioner"] == "nlpconnect/vit-gpt2-image-captioning"
    assert (cls.Config().beams, cls.Config(captioner="a/b").tokens) == (4, None)


@pytest.mark.parametrize("preset", ["tiny", "reference"])
def test_no_preset_says_of_one_captioner_what_is_right_for_another(preset: str) -> None:
    from tokenizers import Tokenizer

    of = lambda **options: VitGpt2Predictor.Config(**{**VitGpt2Predictor.presets[preset], **options})  # noqa: E731
    # max_length=16 of the model card, of which one starts the caption.
    assert (of(captioner="nlpconnect/x").tokens, of(captioner="nlpconnect/x").shrink) == (None, 0.0)
    assert of(captioner="tiny").shrink is None
    assert of(captioner="tiny", epochs=1).shrink == 0.0  # it has seen the rows that would choose
    assert (of(captioner="tiny", tokens=7).tokens, of(captioner="tiny", shrink=0.5).shrink) == (7, 0.5)
    assert of(captioner="tiny") == VitGpt2Predictor.Config.model_validate(of(captioner="tiny").model_dump())
    tokenizer = Tokenizer.from_file(str(TINY_FOLDER / "captioner" / "tokenizer.json"))
    prompts = open_dataset("scenes:300:77", PluginManager().readers).texts
    lengths = np.array([len(tokenizer.encode(texts[0]).ids) for texts in prompts])
    assert (lengths <= of(captioner="tiny").tokens).mean() > 0.95  # and 15 would cut most of them
    assert (lengths <= 15).mean() < 0.5


@pytest.mark.parametrize(("beams", "tokens"), [(4, 15), (3, 7), (1, 6)])
def test_captions_are_those_of_the_reference_call_to_the_token(
    captioner: Path, tmp_path: Path, beams: int, tokens: int
) -> None:
    images = rows(9, 0).images
    found = caption_images(
        Context(tmp_path), images, model=str(captioner), option="x", beams=beams, tokens=tokens, batch=4
    )
    loaded = load_captioner(str(captioner), "x")
    pixels = torch.from_numpy(np.stack([loaded.pixels(images[i]) for i in range(9)]))
    with torch.inference_mode():
        best = loaded.model.generate(pixel_values=pixels, max_length=tokens + 1, num_beams=beams)
        said = loaded.model.generate(
            pixel_values=pixels, max_length=tokens + 1, num_beams=beams, num_return_sequences=beams
        )
    assert [one[0].text for one in found] == loaded.texts(best.numpy())
    words = loaded.texts(said.numpy())
    assert [[caption.text for caption in one] for one in found] == [
        words[start : start + beams] for start in range(0, 9 * beams, beams)
    ]


@pytest.mark.parametrize("beams", [1, 2])
def test_a_score_is_the_mean_log_probability_of_the_tokens(captioner: Path, tmp_path: Path, beams: int) -> None:
    images = rows(4, 0).images
    found = caption_images(Context(tmp_path), images, model=str(captioner), option="x", beams=beams, tokens=6)[0]
    loaded = load_captioner(str(captioner), "x")
    pixels = torch.from_numpy(loaded.pixels(images[0])).unsqueeze(0)
    with torch.inference_mode():
        tokens = loaded.model.generate(
            pixel_values=pixels, num_beams=beams, num_return_sequences=beams, max_new_tokens=6
        )
        by_hand = []
        for row in tokens[:, 1:].tolist():
            said, each = [0], []
            for token in row:
                logits = loaded.model(pixel_values=pixels, decoder_input_ids=torch.tensor([said])).logits[0, -1]
                each.append(float(torch.log_softmax(logits, 0)[token]))
                said.append(token)
                if token == 0:
                    break
            by_hand.append(sum(each) / len(each))
    assert [caption.score for caption in found] == pytest.approx(by_hand, abs=1e-4)
    assert by_hand == sorted(by_hand, reverse=True)


def test_nothing_is_captioned_twice(captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    train = rows(8, 3)
    settings = {"model": str(captioner), "option": "x", "beams": 2, "tokens": 5}
    first = caption_images(Context(tmp_path, cache=DiskCache()), train.images, **settings)
    monkeypatch.setattr("harness.models.captioner.generate", None)
    assert caption_images(Context(tmp_path, cache=DiskCache()), train.images, **settings) == first
    predictor = build(captioner, tmp_path, {"cache": DiskCache()}, beams=2, tokens=5)
    predictor.fit(train)
    assert predictor.predict(train.images).shape == (8, 384)
    with pytest.raises(TypeError):  # other settings are other captions
        caption_images(Context(tmp_path, cache=DiskCache()), train.images, **{**settings, "tokens": 6})


def test_the_prediction_is_the_mean_of_beams_by_probability(captioner: Path, tmp_path: Path) -> None:
    captions = [[Caption("a cat", np.log(0.6)), Caption("a boat", np.log(0.2))], [Caption("a cat", -3.0)]]
    cat, boat = PromptEncoder().encode(["a cat", "a boat"]).astype(np.float64)
    wanted = 0.75 * cat + 0.25 * boat
    rows_ = build(captioner, tmp_path)._embed(captions)
    assert np.allclose(rows_[0], wanted / np.linalg.norm(wanted), atol=1e-6)
    assert np.allclose(rows_[1], cat, atol=1e-6)
    best = build(captioner, tmp_path, average="best")._embed(captions)
    assert np.allclose(best, [cat, cat], atol=1e-6)
    even = build(captioner, tmp_path, temperature=100.0)._embed(captions)
    assert float(even[0] @ boat) > float(rows_[0] @ boat)


def test_explain_gives_each_caption_its_share(captioner: Path, tmp_path: Path) -> None:
    images = rows(5, 2).images
    for average, count in (("beams", 4), ("best", 1)):
        predictor = build(captioner, tmp_path, average=average)
        predictor.fit(rows(8, 0))
        for said in predictor.explain(images):
            shares = [explanation.score for explanation in said]
            assert 1 <= len(said) <= count
            assert sum(shares) == pytest.approx(1.0)
            assert shares == sorted(shares, reverse=True)


def test_shrinking_mixes_in_the_mean_target_and_finds_its_share(captioner: Path, tmp_path: Path) -> None:
    train = rows(60, 4)
    mean = train.targets.mean(axis=0)
    plain, chosen = build(captioner, tmp_path), build(captioner, tmp_path, shrink=None)
    whole = build(captioner, tmp_path, shrink=1.0)
    for predictor in (plain, chosen, whole):
        predictor.fit(train)
    score = {
        id(p): float(np.einsum("ij,ij->i", p.predict(train.images), train.targets).mean()) for p in (plain, chosen)
    }
    assert np.allclose(whole.predict(train.images), mean / np.linalg.norm(mean), atol=1e-6)
    assert score[id(chosen)] > score[id(plain)] + 0.05  # a random captioner had better say nothing
    for option in ("shrink", "temperature"):
        with pytest.raises(InputError, match=rf"vitgpt2\.{option}=null"):
            build(captioner, tmp_path, **{option: None}, epochs=1).fit(train)


def test_the_temperature_is_chosen_on_the_training_rows(captioner: Path, tmp_path: Path) -> None:
    train = rows(60, 4)

    def score(temperature: float | None) -> float:
        predictor = build(captioner, tmp_path, temperature=temperature)
        predictor.fit(train)
        folder = tmp_path / f"model-{temperature}"
        folder.mkdir()
        predictor.save(folder)
        loaded = build(captioner, tmp_path, temperature=temperature)
        loaded.load(folder)
        guess = predictor.predict(train.images)
        assert np.array_equal(loaded.predict(train.images), guess)
        return float(np.einsum("ij,ij->i", guess, train.targets).mean())

    assert score(None) == pytest.approx(max(score(temperature) for temperature in TEMPERATURES), abs=1e-6)


def test_zero_shot_learns_nothing_from_the_rows(captioner: Path, tmp_path: Path) -> None:
    held = rows(6, 9).images
    answers = []
    for seed in (1, 2):
        predictor = build(captioner, tmp_path)
        predictor.fit(rows(12, seed))
        answers.append(predictor.predict(held))
    assert np.array_equal(*answers)


def test_fine_tuning_learns_what_is_in_the_pictures(captioner: Path, tmp_path: Path) -> None:
    train, held = rows(120, 0), rows(40, 1)
    predictor = build(captioner, tmp_path, tokens=14, **TUNED)
    predictor.fit(train)
    mean = train.targets.mean(axis=0)
    floor = float((held.targets @ (mean / np.linalg.norm(mean))).mean())
    score = float(np.einsum("ij,ij->i", predictor.predict(held.images), held.targets).mean())
    assert score > floor + 0.05
    said = [explanations[0].text for explanations in predictor.explain(held.images)]
    right = [text.split()[:1] == prompt.split()[:1] for text, prompt in zip(said, held.prompts, strict=True)]
    assert np.mean(right) > 0.8
    untouched = load_captioner(str(captioner), "vitgpt2.captioner")
    assert build(captioner, tmp_path)._captioner is None
    assert untouched.digest != predictor._captioner.digest


def test_fitting_twice_and_any_number_of_workers_give_the_same(captioner: Path, tmp_path: Path) -> None:
    held = rows(10, 1).images
    options = {**TUNED, "epochs": 1, "tokens": 6}
    first = build(captioner, tmp_path, **options)
    first.fit(rows(32, 0))
    once = first.predict(held)
    first.fit(rows(32, 0))
    assert np.array_equal(first.predict(held), once)
    other = build(captioner, tmp_path, **options)
    other.fit(rows(32, 0, workers=3))
    assert np.array_equal(other.predict(rows(10, 1, workers=4).images), once)


def test_predictions_do_not_depend_on_order_or_company(captioner: Path, tmp_path: Path) -> None:
    predictor, held = build(captioner, tmp_path, predict_batch=4), rows(11, 5).images
    predictor.fit(rows(8, 0))
    whole = predictor.predict(held)
    order = np.random.default_rng(0).permutation(11).tolist()
    assert np.allclose(predictor.predict(held.take(order)), whole[order], atol=1e-5)
    assert np.allclose(predictor.predict(held.take([3])), whole[[3]], atol=1e-5)
    assert predictor.predict(held.take([])).shape == (0, 384)


@pytest.mark.parametrize("options", [{}, {**TUNED, "epochs": 1}], ids=["zero-shot", "fine-tuned"])
def test_a_saved_predictor_says_the_same_in_a_new_process(captioner: Path, tmp_path: Path, options: dict) -> None:
    predictor = build(captioner, tmp_path, **options)
    predictor.fit(rows(32, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} <= {".safetensors", ".json", ".npy", ".txt", ".jinja"}
    script = (
        "import numpy as np\nfrom pathlib import Path\nfrom tests.vitgpt2.captioners import build, rows\n"
        f"predictor = build({str(captioner)!r}, Path({str(tmp_path)!r}), **{options!r})\n"
        f"predictor.load(Path({str(folder)!r}))\n"
        f"np.save({str(tmp_path / 'again.npy')!r}, predictor.predict(rows(6, 1).images))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert np.allclose(np.load(tmp_path / "again.npy"), predictor.predict(rows(6, 1).images), atol=1e-5)


def test_a_saved_predictor_refuses_another_captioner(captioner: Path, tmp_path: Path) -> None:
    predictor = build(captioner, tmp_path)
    predictor.fit(rows(8, 0))
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    other = save_captioner(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="name the same one"):
        build(other, tmp_path).load(folder)


def test_a_rate_of_zero_freezes_the_encoder(captioner: Path, tmp_path: Path) -> None:
    predictor = build(captioner, tmp_path, epochs=1, lr_encoder=0.0)
    predictor.fit(rows(16, 0))
    before, after = load_captioner(str(captioner), "vitgpt2.captioner").model, predictor._captioner.model
    same = {n: torch.equal(p, dict(after.named_parameters())[n]) for n, p in before.named_parameters()}
    assert all(equal for name, equal in same.items() if name.startswith("encoder."))
    assert not all(equal for name, equal in same.items() if name.startswith("decoder."))
    frozen = sum(p.numel() for p in after.encoder.parameters())
    total = sum(p.numel() for p in after.parameters())
    assert predictor.parameter_count() == ParameterCount(total - frozen, total)
    assert predictor.requirements(16).parameters == predictor.parameter_count()


def test_each_weight_has_one_rate(captioner: Path) -> None:
    model = load_captioner(str(captioner), "x").model
    groups = rated_groups(model, VitGpt2Predictor.Config(epochs=1, lr=1e-3, lr_encoder=1e-4))
    given = [id(p) for group in groups for p in group["params"]]
    assert len(given) == len(set(given)) == len(list(model.parameters()))
    assert sorted({group["lr"] for group in groups}) == [1e-4, 1e-3]


def test_requirements_need_no_weights(tmp_path: Path) -> None:
    reference = VitGpt2Predictor.Config(captioner="nlpconnect/vit-gpt2-image-captioning")
    needed = VitGpt2Predictor(reference, Context(tmp_path)).requirements(1000)
    assert needed.parameters == ParameterCount(0, 239_195_904)  # the checkpoint's own count
    assert needed.memory is not None
    assert needed.memory > 4 * 239_195_904
    unknown = VitGpt2Predictor(VitGpt2Predictor.Config(captioner="some/captioner"), Context(tmp_path)).requirements(9)
    assert (unknown.models, unknown.parameters, unknown.memory) == (("some/captioner",), None, None)


def test_what_is_not_there_is_named_with_the_mend(captioner: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vitgpt2\.captioner=some/captioner: .*hf download some/captioner"):
        build("some/captioner", tmp_path).fit(rows(4, 0))
    with pytest.raises(InputError, match="holds no captioner that transformers can load"):
        build(tmp_path, tmp_path).fit(rows(4, 0))
    damaged = save_captioner(tmp_path / "damaged")
    from safetensors.torch import load_file, save_file

    tensors = load_file(damaged / "model.safetensors")
    tensors.pop("decoder.transformer.h.0.mlp.c_fc.weight")
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 weights of the captioner, decoder"):
        build(damaged, tmp_path).fit(rows(4, 0))
    with pytest.raises(NotFittedError):
        build(captioner, tmp_path).predict(rows(4, 0).images)
    for options in ({"beams": 0}, {"tokens": 0}, {"average": "all"}, {"shrink": 2.0}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            VitGpt2Predictor.Config(**options)
