"""Small random captioners of the families that people use, saved by transformers with their processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.vitgpt2.captioners import save_captioner, sentences

IMAGE = 32
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": IMAGE,
    "patch_size": 16,
}
_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer(*special: str, ends: bool = False, **names: str) -> Any:
    """A byte-level BPE with special tokens: by name (``bos_token="<s>"``), and others.

    Parameters
    ----------
    ends
        Whether a start and an end are put around a text, as BERT's and BART's tokenizers do.
    """
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokens = [*dict.fromkeys(names.values()), *special]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator(sentences(), trainer)
    if ends:
        first, last = (names.get(a) or names[b] for a, b in (("cls_token", "bos_token"), ("sep_token", "eos_token")))
        words.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}",
            special_tokens=[(first, words.token_to_id(first)), (last, words.token_to_id(last))],
        )
    return PreTrainedTokenizerFast(tokenizer_object=words, extra_special_tokens=list(special), **names)


def _image_processor(kind: str, **more: Any) -> Any:
    import transformers

    return getattr(transformers, f"{kind}ImageProcessor")(size={"height": IMAGE, "width": IMAGE}, **more)


def _write(model: Any, folder: Path) -> None:
    """Save a model that has made up its mind: of random weights all words are nearly alike, and rounding decides."""
    generator = torch.Generator().manual_seed(1)
    vocabulary = model.config.get_text_config().vocab_size
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2 and len(weight) == vocabulary:
                weight.copy_(torch.randn(weight.shape, generator=generator))
                weight[:4] = 0  # it says something: the first tokens are those that end it
    model.save_pretrained(folder)


def blip(folder: Path) -> None:
    """``Salesforce/blip-image-captioning-base``, small."""
    import transformers as t

    words = tokenizer(bos_token="[DEC]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", ends=True)
    ids = words.convert_tokens_to_ids
    text = {
        **_TEXT,
        "vocab_size": len(words),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "bos_token_id": ids("[DEC]"),
        "pad_token_id": ids("[PAD]"),
        "eos_token_id": ids("[SEP]"),
        "sep_token_id": ids("[SEP]"),
    }
    config = t.BlipConfig(text_config=text, vision_config=_VISION, projection_dim=16, image_text_hidden_size=16)
    _write(t.BlipForConditionalGeneration(config), folder)
    t.BlipProcessor(_image_processor("Blip"), words).save_pretrained(folder)


def blip2(folder: Path) -> None:
    """``Salesforce/blip2-opt-2.7b``, small."""
    import transformers as t

    words = tokenizer("<image>", bos_token="</s>", eos_token="</s>", pad_token="<pad>")
    ids = words.convert_tokens_to_ids
    text = {
        "model_type": "opt",
        "vocab_size": len(words),
        "hidden_size": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 32,
        "bos_token_id": ids("</s>"),
        "eos_token_id": ids("</s>"),
        "pad_token_id": ids("<pad>"),
    }
    former = {**_TEXT, "encoder_hidden_size": 32, "vocab_size": 32, "max_position_embeddings": 32}
    config = t.Blip2Config(
        vision_config=_VISION,
        qformer_config=former,
        text_config=text,
        num_query_tokens=4,
        image_token_index=ids("<image>"),
    )
    _write(t.Blip2ForConditionalGeneration(config), folder)
    t.Blip2Processor(_image_processor("Blip"), words, num_query_tokens=4).save_pretrained(folder)


def git(folder: Path) -> None:
    """``microsoft/git-base-coco``, small."""
    import transformers as t

    words = tokenizer(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", ends=True)
    ids = words.convert_tokens_to_ids
    config = t.GitConfig(
        vision_config=_VISION,
        **_TEXT,
        vocab_size=len(words),
        max_position_embeddings=64,
        bos_token_id=ids("[CLS]"),
        eos_token_id=ids("[SEP]"),
        pad_token_id=ids("[PAD]"),
    )
    _write(t.GitForCausalLM(config), folder)
    crop = {"height": IMAGE, "width": IMAGE}
    pictures = t.CLIPImageProcessor(size={"shortest_edge": IMAGE}, crop_size=crop)
    t.GitProcessor(pictures, words).save_pretrained(folder)


def florence2(folder: Path) -> None:
    """``florence-community/Florence-2-base``, small."""
    import transformers as t

    words = tokenizer("<image>", bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", ends=True)
    words.extra_special_tokens = None
    words = type(words)(
        tokenizer_object=words.backend_tokenizer,
        extra_special_tokens={"image_token": "<image>"},
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    ids = words.convert_tokens_to_ids
    text = {
        "vocab_size": len(words),
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 128,
        "bos_token_id": ids("<s>"),
        "eos_token_id": ids("</s>"),
        "pad_token_id": ids("<pad>"),
        "decoder_start_token_id": ids("</s>"),
        "forced_eos_token_id": None,
    }
    vision = {
        "embed_dim": [8, 16],
        "depths": [1, 1],
        "num_heads": [2, 2],
        "num_groups": [2, 2],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "window_size": 4,
        "projection_dim": 32,
        "max_position_embeddings": 16,
    }
    config = t.Florence2Config(text_config=text, vision_config=vision, image_token_id=ids("<image>"))
    _write(t.Florence2ForConditionalGeneration(config), folder)
    pictures = t.CLIPImageProcessor(size={"height": IMAGE, "width": IMAGE}, do_center_crop=False)
    pictures.image_seq_length = 17  # 4 x 4 positions, and their mean
    t.Florence2Processor(pictures, words).save_pretrained(folder)


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A chat template of the usual kind; IMAGE is to be replaced by the family's mark of an image."""


def qwen3_vl(folder: Path) -> None:
    """``Qwen/Qwen3-VL-2B-Instruct``, small."""
    import transformers as t

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|im_start|>")
    words = tokenizer(*marks, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = words.convert_tokens_to_ids
    text = {
        **_TEXT,
        "vocab_size": len(words),
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
        "spatial_merge_size": 2,
    }
    config = t.Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    model = t.Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids("<|im_end|>"), ids("<|endoftext|>")]
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    _write(model, folder)
    sizes = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    pictures = t.Qwen2VLImageProcessor(size={"shortest_edge": 16 * 16, "longest_edge": 32 * 32}, **sizes)
    videos = t.Qwen3VLVideoProcessor(**sizes)
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    t.Qwen3VLProcessor(pictures, words, videos, chat_template=chat).save_pretrained(folder)


def smolvlm(folder: Path) -> None:
    """``HuggingFaceTB/SmolVLM2-256M-Video-Instruct``, small."""
    import transformers as t

    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<video>", "<|im_start|>", "<|im_end|>")
    words = tokenizer(*marks, eos_token="<end_of_utterance>", pad_token="<pad>", bos_token="<s>")
    ids = words.convert_tokens_to_ids
    text = {
        "model_type": "llama",
        **_TEXT,
        "vocab_size": len(words),
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "eos_token_id": ids("<end_of_utterance>"),
        "pad_token_id": ids("<pad>"),
        "bos_token_id": ids("<s>"),
    }
    config = t.SmolVLMConfig(
        text_config=text,
        vision_config=_VISION,
        scale_factor=2,
        image_token_id=ids("<image>"),
        pad_token_id=ids("<pad>"),
    )
    _write(t.SmolVLMForConditionalGeneration(config), folder)
    edge = {"longest_edge": IMAGE}
    pictures = t.SmolVLMImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    videos = t.SmolVLMVideoProcessor(size=edge)
    chat = CHAT.replace("IMAGE", "<image>")
    t.SmolVLMProcessor(pictures, words, videos, image_seq_len=1, chat_template=chat).save_pretrained(folder)


def vit_gpt2(folder: Path) -> None:
    """``nlpconnect/vit-gpt2-image-captioning``, small."""
    save_captioner(folder)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "blip": blip,
    "blip-2": blip2,
    "git": git,
    "florence2": florence2,
    "qwen3_vl": qwen3_vl,
    "smolvlm": smolvlm,
    "vision-encoder-decoder": vit_gpt2,
}


def save(family: str, folder: Path) -> Path:
    """Write a small captioner of a family, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        FAMILIES[family](folder)
    return folder
