"""Architectures of transformers at random weights, and LoRA of peft."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reports.what_runs.case import EXAMPLES, Case, numbers, regression, words
from reports.what_runs.ordinary import mlp

HIDDEN = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def scores(prediction: Any, y: Tensor) -> Tensor:
    """Compute the cross-entropy of a model's scores, whose last axis are the classes."""
    logits: Tensor = prediction.logits
    return cross_entropy(logits.flatten(0, -2), y.flatten())


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 11, "n_positions": 6}
    net: nn.Module = GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=0, eos_token_id=0))
    return net.eval()


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    more = {"vocab_size": 11, "intermediate_size": 8, "max_position_embeddings": 6}
    net: nn.Module = BertForSequenceClassification(BertConfig(**HIDDEN, **more, num_labels=3))
    return net.eval()


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    more = {"intermediate_size": 8, "image_size": 4, "patch_size": 2, "num_labels": 3}
    net: nn.Module = ViTForImageClassification(ViTConfig(**HIDDEN, **more))
    return net.eval()


def _lora() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    net: nn.Module = get_peft_model(mlp(), LoraConfig(r=2, target_modules=["0", "2"]))
    for name, value in net.named_parameters():
        if "lora_B" in name:  # which start at 0: there the gradient of lora_A would be 0
            nn.init.normal_(value, std=0.1)
    return net


def _next_words(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return words(generator, 11, 5), words(generator, 11, 5)


def _sentences(generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    mask = torch.ones(EXAMPLES, 5, dtype=torch.long)
    mask[0, 3:] = 0
    x = {"input_ids": words(generator, 11, 5), "attention_mask": mask}
    return x, words(generator, 3)


def _images(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return numbers(generator, 3, 4, 4), words(generator, 3)


CASES = (
    Case("lora", _lora, regression(3), "*.2.lora_?.*", needs="peft", head_by_name=True),
    Case("gpt2", _gpt2, _next_words, "*.ln_f.*", scores, needs="transformers", head_by_name=True),
    Case("bert", _bert, _sentences, "classifier.*", scores, needs="transformers"),
    Case("vit", _vit, _images, "classifier.*", scores, needs="transformers"),
)
