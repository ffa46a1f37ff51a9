"""Pretrain the bundled tiny captioner on drawn scenes: ``python -m harness.models.train_captioner --out DIR``.

A ViT that looks and a GPT-2 that tells, as transformers' ``VisionEncoderDecoderModel``, taught by teacher forcing: at
each token the decoder sees the true ones before it, and the loss is the cross-entropy of the next. The tokenizer is a
byte-level BPE of its own, learned on the same prompts.

The ViT starts from the tiny CLIP's image tower, which has seen scenes of another seed. CLIP has one norm more, before
its first layer; `vit_from_clip` folds its average effect into the patch embedding, and training mends the rest.

Where other work shares the cores, ``OMP_WAIT_POLICY=PASSIVE`` keeps threads from spinning while they wait.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)

from harness.errors import InputError
from harness.models.captioning import teacher_forcing, token_labels, unseen_loss
from harness.models.convert import MEAN, STD, write_json
from harness.models.drawings import EVALUATION_SEED, Drawings, shift
from harness.models.resolve import TINY_FOLDER
from harness.models.retrieval import normalise
from harness.training import warmup_cosine

LOG = logging.getLogger("harness.models.train_captioner")
END = "<|endoftext|>"
"""GPT-2's one special token: it starts a caption, ends it, and pads it."""


@dataclass(frozen=True)
class Settings:
    """What a training run depends on.

    Attributes
    ----------
    minutes, steps
        Length: wall time, or, if `steps` is not 0, a number of updates (then a repeat gives the same weights).
    rows, seed
        Training takes the first `rows` rows of `seed` of the data set to start with; `seed` also starts the generators.
    rate, encoder_rate
        Peak learning rates of the decoder, which starts from nothing, and of the encoder, which does not.
    vocabulary, layers
        Tokens of the BPE, and layers of the decoder.
    """

    minutes: float = 30.0
    steps: int = 0
    rows: int = 131_072
    seed: int = 3_000_000
    batch: int = 64
    rate: float = 1e-3
    encoder_rate: float = 3e-4
    decay: float = 0.05
    warmup: float = 0.03
    vocabulary: int = 4096
    layers: int = 4
    workers: int = 2
    compile: bool = True
    evaluate: int = 1000
    checkpoint_minutes: float = 5.0


def learn_tokenizer(prompts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE, as GPT-2's, of at most `vocabulary` tokens; `END` is token 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(prompts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )


def build_model(settings: Settings, tokenizer: PreTrainedTokenizerFast, pictures: torch.Tensor) -> Any:
    """Compose ViT and GPT-2: the ViT from the tiny CLIP, the decoder drawn from torch's global generator.

    Parameters
    ----------
    settings, tokenizer
        Of the training.
    pictures
        Some scenes, normalised, float32, shape (n, 3, size, size); see `vit_from_clip`.
    """
    encoder = vit_from_clip(TINY_FOLDER / "clip", pictures)
    end = tokenizer.eos_token_id
    decoder = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=64,
            n_embd=encoder.config.hidden_size,
            n_layer=settings.layers,
            n_head=encoder.config.num_attention_heads,
            resid_pdrop=0.0,  # no dropout: nearly every picture is new
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=end,
            eos_token_id=end,
            add_cross_attention=True,
            is_decoder=True,
        )
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.decoder_start_token_id = model.config.pad_token_id = model.config.eos_token_id = end
    settings_of_generation = model.generation_config
    settings_of_generation.decoder_start_token_id = settings_of_generation.bos_token_id = end
    settings_of_generation.pad_token_id = settings_of_generation.eos_token_id = end
    return model


def vit_from_clip(folder: Path, pictures: torch.Tensor) -> Any:
    """Turn a CLIP folder's image tower into a ViT that gives about the same states.

    CLIP normalises embedded patches before its first layer, ``(x - mean(x)) / deviation(x) * gain + bias``; a ViT does
    not. All of it but the deviation is linear, and goes into the embedding of patches and positions; for the deviation
    stands its average over `pictures`.

    Parameters
    ----------
    folder
        With a plain ``CLIPVisionModel``, as transformers writes it.
    pictures
        Normalised, float32, shape (n, 3, size, size).

    Returns
    -------
    ViTModel
        In evaluation mode, float32.
    """
    clip = CLIPVisionModel.from_pretrained(folder, dtype=torch.float32)
    shape = clip.config
    source = {name.removeprefix("vision_model."): values for name, values in clip.state_dict().items()}
    tensors = _folded_embeddings(source, pictures)
    for number in range(shape.num_hidden_layers):
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                values = source[f"encoder.layers.{number}.{theirs}.{kind}"]
                tensors[f"encoder.layer.{number}.{ours}.{kind}"] = values
    for kind in ("weight", "bias"):
        tensors[f"layernorm.{kind}"] = source[f"post_layernorm.{kind}"]
    tensors["pooler.dense.weight"] = torch.eye(shape.hidden_size)  # nothing looks at it
    tensors["pooler.dense.bias"] = torch.zeros(shape.hidden_size)
    config = ViTConfig(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=shape.intermediate_size,
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_act=shape.hidden_act,
        layer_norm_eps=shape.layer_norm_eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    # Through files, whose names stay when those in memory change with the version of the library.
    with tempfile.TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        whole = {name: values.contiguous() for name, values in tensors.items()}
        save_file(whole, Path(temporary) / "model.safetensors", metadata={"format": "pt"})
        return ViTModel.from_pretrained(temporary)


_LAYER = {
    "self_attn.q_proj": "attention.attention.query",
    "self_attn.k_proj": "attention.attention.key",
    "self_attn.v_proj": "attention.attention.value",
    "self_attn.out_proj": "attention.output.dense",
    "layer_norm1": "layernorm_before",
    "layer_norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def _folded_embeddings(source: dict[str, torch.Tensor], pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    gain, bias = source["pre_layrnorm.weight"], source["pre_layrnorm.bias"]
    patch, position = source["embeddings.patch_embedding.weight"], source["embeddings.position_embedding.weight"]
    seen = functional.conv2d(pictures, patch, stride=patch.shape[-1]).flatten(2).transpose(1, 2) + position[1:]
    scale = 1.0 / seen.std(dim=2, correction=0).mean()
    first = functional.layer_norm(source["embeddings.class_embedding"] + position[0], gain.shape, gain, bias)
    others = (position[1:] - position[1:].mean(dim=1, keepdim=True)) * scale * gain + bias
    return {
        "embeddings.patch_embeddings.projection.weight": (patch - patch.mean(dim=0)) * scale * gain.view(-1, 1, 1, 1),
        "embeddings.patch_embeddings.projection.bias": torch.zeros_like(bias),
        "embeddings.cls_token": torch.zeros_like(first).view(1, 1, -1),  # the position says it all: it never varies
        "embeddings.position_embeddings": torch.cat([first.unsqueeze(0), others]).unsqueeze(0),
    }


def training_batches(drawings: Drawings, settings: Settings) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield scene indices, shape (batch,), and their shifted, normalised pictures for ever."""
    generator = np.random.default_rng(settings.seed)
    # By steps, training repeats itself, so its order may not depend on how fast scenes are drawn.
    drawings.wait(drawings.count if settings.steps else 16 * settings.batch)
    while True:
        order = generator.permutation(drawings.ready())
        for start in range(0, len(order) - settings.batch + 1, settings.batch):
            rows = np.sort(order[start : start + settings.batch])  # neighbours in a file are read together
            yield rows, normalise(shift(drawings.images(rows), generator))


def build_optimizer(model: Any, settings: Settings) -> torch.optim.AdamW:
    """AdamW with one rate a half, and decay on matrices that are not embeddings. `peak` is what the schedule scales."""
    groups: list[dict[str, Any]] = []
    for half, rate in ((model.encoder, settings.encoder_rate), (model.decoder, settings.rate)):
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in half.named_parameters():
            plain = parameter.ndim < 2 or any(part in name for part in ("embeddings", "wte", "wpe"))
            (others if plain else matrices).append(parameter)
        groups.append({"params": matrices, "weight_decay": settings.decay, "peak": rate})
        groups.append({"params": others, "weight_decay": 0.0, "peak": rate})
    return torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def train(settings: Settings, images: Path, out: Path) -> dict[str, float]:
    """Train, and write the folder `out` now and then and at the end.

    Returns
    -------
    dict
        Final figures: step, samples, seconds, loss (mean of the last 50 steps), and the loss on unseen scenes unless
        not evaluated; nats a token.

    Raises
    ------
    InputError
        If there are fewer rows than a batch takes.
    """
    if settings.rows < settings.batch:
        raise InputError(f"--rows {settings.rows} do not fill a batch of {settings.batch}; draw more, or lower --batch")
    torch.manual_seed(settings.seed)
    size = CLIPVisionModel.config_class.from_pretrained(TINY_FOLDER / "clip").image_size
    unseen = Drawings(images, EVALUATION_SEED, max(settings.evaluate, 64), size)
    drawings = Drawings(images, settings.seed, settings.rows, size)
    unseen.start(1)
    drawings.start(settings.workers)
    try:
        return _train(settings, drawings, unseen, out)
    finally:
        drawings.stop()
        unseen.stop()


def _train(settings: Settings, drawings: Drawings, unseen: Drawings, out: Path) -> dict[str, float]:
    prompts = drawings.prompts()
    tokenizer = learn_tokenizer(prompts, settings.vocabulary)
    labels, unseen_labels = token_labels(tokenizer, prompts), token_labels(tokenizer, unseen.prompts())
    drawings.wait(64)
    model = build_model(settings, tokenizer, normalise(drawings.images(np.arange(64)))).train()
    if settings.compile:
        torch._dynamo.config.recompile_limit = 32  # a few lengths of prompts, in training and evaluation
        for block in [*_layers(model.encoder), *model.decoder.transformer.h]:
            block.compile(dynamic=False)
    optimizer = build_optimizer(model, settings)
    batches = training_batches(drawings, settings)
    began = saved = logged = time.monotonic()
    step, recent = 0, [float("nan")]
    while True:
        now = time.monotonic()
        progress = step / settings.steps if settings.steps else (now - began) / (60 * settings.minutes)
        if now - saved > 60 * settings.checkpoint_minutes or progress >= 1:
            saved = now
            figures = {"step": step, "samples": step * settings.batch, "seconds": now - began}
            figures["loss"] = float(np.nanmean(recent[-50:]))
            if settings.evaluate:
                with torch.compiler.set_stance("force_eager"):  # too few pictures to compile for
                    figures["unseen_loss"] = unseen_loss(model, unseen_labels, unseen)
            write_captioner(model, tokenizer, out)
            LOG.info("checkpoint %s", {name: round(value, 4) for name, value in figures.items()})
        if progress >= 1:
            return figures
        rows, pictures = next(batches)
        loss = teacher_forcing(model, pictures, labels[rows])
        recent.append(_update(model, optimizer, loss, warmup_cosine(progress, 1.0, settings.warmup, least=1e-3)))
        step += 1
        if step % 50 == 0:
            pace = 50 * settings.batch / (time.monotonic() - logged)
            logged = time.monotonic()
            LOG.info("step %d at %.0f s, %.3f of all: loss %.4f, %.0f images/s, %d drawn", step, logged - began,
                     progress, np.mean(recent[-50:]), pace, drawings.ready())  # fmt: skip


def _layers(vit: Any) -> Sequence[nn.Module]:
    """Return a ViT's layers; they lay one deeper before transformers 5."""
    return vit.layers if hasattr(vit, "layers") else vit.encoder.layer


def _update(model: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor, share: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def write_captioner(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (fp16), tokenizer and image processor as ``from_pretrained`` of each reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    half = VisionEncoderDecoderModel(config=copy.deepcopy(model.config))
    half.load_state_dict(model.state_dict())
    half.generation_config = model.generation_config
    half.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes files that nobody else can read
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float32"  # transformers 5 otherwise computes in the type of the file
    config["encoder"].pop("_name_or_path", None)  # a temporary folder
    write_json(folder / "config.json", config)
    size = model.config.encoder.image_size
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": size, "width": size},
            "resample": 3,  # bicubic, as PIL numbers it
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": MEAN,
            "image_std": STD,
        },
    )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Pretrain the bundled tiny captioner on drawn scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--images", type=Path, help="folder that keeps drawn pictures (temporary unless given)")
    for name in (
        "minutes",
        "steps",
        "rows",
        "seed",
        "batch",
        "rate",
        "encoder_rate",
        "layers",
        "workers",
        "evaluate",
    ):
        default = getattr(Settings, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out, images = given.pop("out"), given.pop("images")
    # Denormals make processors several times slower. The setting holds for the whole process, so it belongs here.
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as temporary:
        train(Settings(**given), images or Path(temporary), out)


if __name__ == "__main__":
    main()
