"""Encoders and decoders of every kind the reference names make a captioner, learn, and are saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from harness.errors import InputError
from harness.models.captioner import load_captioner
from harness.models.decoders import load_decoder
from harness.models.train_captioner import learn_tokenizer
from tests.vitgpt2.captioners import build, decoder_config, encoder_config, rows, save_processor, sentences

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BERT = {**SHAPE, "vocab_size": 60, "max_position_embeddings": 48}
ENCODERS = ("vit", "beit", "deit", "swin")
DECODERS = ("gpt2", "bert", "roberta", "distilbert")


def save_encoder(folder: Path, kind: str) -> Path:
    """A random encoder of 32 px with its image processor."""
    square = {"image_size": 32, "patch_size": 8}
    model: Any = {
        "vit": lambda: transformers.ViTModel(encoder_config()),
        "beit": lambda: transformers.BeitModel(transformers.BeitConfig(**SHAPE, **square)),
        "deit": lambda: transformers.DeiTModel(transformers.DeiTConfig(**SHAPE, **square)),
        "swin": lambda: transformers.SwinModel(
            transformers.SwinConfig(
                image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
            )
        ),
    }[kind]()
    model.save_pretrained(folder)
    save_processor(folder)
    return folder


def save_decoder(folder: Path, kind: str) -> Path:
    """A random language model with a tokenizer of its kind, as a hub folder holds them."""
    if kind == "gpt2":
        transformers.GPT2LMHeadModel(decoder_config(add_cross_attention=False, is_decoder=False)).save_pretrained(
            folder
        )
        learn_tokenizer(sentences(), 300).save_pretrained(folder)
        return folder
    words = sorted({word for sentence in sentences() for word in sentence.split()})
    if kind == "roberta":
        special = {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
        }
        transformers.RobertaForMaskedLM(
            transformers.RobertaConfig(**BERT, bos_token_id=0, pad_token_id=1, eos_token_id=2, type_vocab_size=1)
        ).save_pretrained(folder)
        vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *words]
        _save_tokenizer(folder, vocabulary, "<unk>", "<s>", "</s>", special)
        return folder
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    model: Any
    if kind == "bert":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**BERT))
    else:
        model = transformers.DistilBertForMaskedLM(
            transformers.DistilBertConfig(
                vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=48
            )
        )
    model.save_pretrained(folder)
    _save_tokenizer(folder, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words], "[UNK]", "[CLS]", "[SEP]", special)
    return folder


def _save_tokenizer(
    folder: Path, vocabulary: list[str], unknown: str, start: str, end: str, special: dict[str, str]
) -> None:
    """A tokenizer of whole words that puts a start and an end around a text, as BERT's do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    numbers = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, numbers[start]), (end, numbers[end])]
    )
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown, **special).save_pretrained(
        folder
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parts")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {kind: save_encoder(folder / kind, kind) for kind in ENCODERS} | {
            kind: save_decoder(folder / kind, kind) for kind in DECODERS
        }


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_pair_is_composed_trained_saved_and_loaded(
    encoder: str, decoder: str, parts: dict[str, Path], tmp_path: Path
) -> None:
    name = f"{parts[encoder]}+{parts[decoder]}"
    with pytest.raises(InputError, match="composed captioners know nothing yet"):
        build(name, tmp_path).fit(rows(8, 0))
    predictor = build(name, tmp_path, epochs=1, batch_size=8)
    predictor.fit(rows(16, 0))
    said = predictor.predict(rows(4, 1).images)
    assert np.isfinite(said).all()
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    loaded = build(name, tmp_path, epochs=1, batch_size=8)
    loaded.load(folder)
    np.testing.assert_allclose(loaded.predict(rows(4, 1).images), said, atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_text_starts_and_ends_once(decoder: str, parts: dict[str, Path]) -> None:
    captioner = load_captioner(f"{parts['vit']}+{parts[decoder]}", "x")
    settings = captioner.model.generation_config
    tokenizer = captioner.tokenizer
    (tokens,) = captioner.tokens(["red paint on a wall"], 32)
    assert tokens.count(captioner.end) == 1
    assert tokens[-1] == captioner.end
    assert settings.decoder_start_token_id not in tokens[:-1]
    assert captioner.texts(np.array([tokens])) == ["red paint on a wall"]
    assert len(captioner.tokens(["red paint on a wall"], 3)[0]) == 3
    expected = {"gpt2": ("eos", "eos"), "bert": ("cls", "sep"), "distilbert": ("cls", "sep"), "roberta": ("bos", "eos")}
    start, end = (getattr(tokenizer, f"{kind}_token_id") for kind in expected[decoder])
    assert (settings.decoder_start_token_id, settings.eos_token_id) == (start, end)
    if decoder != "gpt2":
        assert settings.pad_token_id == tokenizer.pad_token_id != end


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_decoder_knows_what_the_language_model_knew(kind: str, parts: dict[str, Path]) -> None:
    model = load_decoder(parts[kind]).eval()
    assert (model.config.is_decoder, model.config.add_cross_attention) == (True, True)
    whole = transformers.AutoModelForMaskedLM.from_pretrained(parts[kind]).eval()
    model.config.is_decoder = model.bert.config.is_decoder = False  # looks at all words again, as it was trained to
    for layer in model.bert.encoder.layer:
        layer.attention.is_decoder = layer.is_decoder = False
        for part in (layer.attention, layer.attention.self):
            part.is_causal = part.is_decoder = False
    tokens = torch.tensor([[2, 7, 9, 8, 12, 3]])
    with torch.inference_mode():
        assert torch.allclose(model(tokens).logits, whole(tokens).logits, atol=1e-5)


def test_a_tokenizer_without_an_end_is_refused(parts: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    folder.mkdir()
    for file in parts["bert"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("sep_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="neither eos_token nor sep_token"):
        load_captioner(f"{parts['vit']}+{folder}", "vitgpt2.captioner")


@pytest.mark.parametrize("composed", [False, True])
def test_lora_trains_its_updates_and_what_has_learned_nothing(
    composed: bool, captioner: Path, parts: dict[str, Path], tmp_path: Path
) -> None:
    name = f"{parts['vit']}+{parts['gpt2']}" if composed else str(captioner)
    train = rows(24, 0)
    predictor = build(name, tmp_path, epochs=3, lr=5e-3, lora_rank=2, batch_size=8)
    needs = predictor.requirements(24)
    before = dict(load_captioner(name, "x").model.state_dict())
    before = {key: value.clone() for key, value in before.items()}
    predictor.fit(train)
    assert predictor._captioner is not None
    after = predictor._captioner.model.state_dict()
    assert after.keys() == before.keys(), "the updates are in the weights"
    for key, value in after.items():
        changed = not torch.equal(value, before[key])
        new = composed and ("crossattention" in key or "ln_cross_attn" in key)
        linear = value.ndim == 2 and not any(part in key for part in ("wte", "wpe", "lm_head", "embeddings"))
        if changed:
            assert new or linear, key
        if linear and not new and "decoder" in key:
            rank = torch.linalg.matrix_rank((value - before[key]).double(), rtol=1e-3)
            assert 1 <= rank <= 2, key
    count = predictor.parameter_count()
    assert 0 < count.trainable < count.total
    if not composed:
        assert needs.parameters == count
