"""Language models as the decoders of a captioner: made causal, with cross-attention that is still to be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_decoder(folder: Path) -> Any:
    """Load a language model as a decoder: GPT-2, BERT, RoBERTa and their kin, or DistilBERT.

    Raises
    ------
    OSError, ValueError
        As transformers does, for what it cannot load.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type == "distilbert":
        return _from_distilbert(folder, config)
    config.is_decoder = config.add_cross_attention = True
    return transformers.AutoModelForCausalLM.from_pretrained(folder, config=config, local_files_only=True)


_NAMES = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
"""What the parts of a layer are called in DistilBERT, and in BERT."""
_HEAD = {
    "vocab_transform": "cls.predictions.transform.dense",
    "vocab_layer_norm": "cls.predictions.transform.LayerNorm",
    "vocab_projector": "cls.predictions.decoder",
}


def _from_distilbert(folder: Path, config: Any) -> Any:
    """Return a DistilBERT as the BERT of half the layers that it is, since transformers lets only that decode.

    DistilBERT (Sanh et al. 2019, arXiv:1910.01108) is BERT without token types, which are all alike here, and pooler.
    """
    import torch
    import transformers

    teacher = transformers.AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True)
    model = transformers.BertLMHeadModel(
        transformers.BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.dim,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            intermediate_size=config.hidden_dim,
            hidden_act=config.activation,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
            max_position_embeddings=config.max_position_embeddings,
            initializer_range=config.initializer_range,
            pad_token_id=config.pad_token_id,
            type_vocab_size=1,
            is_decoder=True,
            add_cross_attention=True,
        )
    )
    renamed = {_renamed(name): values for name, values in teacher.state_dict().items()}
    renamed["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(1, config.dim)
    renamed["cls.predictions.bias"] = renamed["cls.predictions.decoder.bias"]
    missing, foreign = model.load_state_dict(renamed, strict=False)
    lacking = [name for name in missing if "crossattention" not in name]
    if lacking or foreign:
        raise ValueError(f"weights of another DistilBERT than is known: {[*lacking, *foreign][0]}")
    return model


def _renamed(name: str) -> str:
    for theirs, ours in _HEAD.items():
        if name.startswith(f"{theirs}."):
            return name.replace(theirs, ours, 1)
    name = name.replace("distilbert.transformer.layer.", "bert.encoder.layer.").replace("distilbert.", "bert.", 1)
    for theirs, ours in _NAMES.items():
        if f".{theirs}." in name:
            return name.replace(f".{theirs}.", f".{ours}.")
    return name
