"""Makes a tiny Qwen2 with random weights, and LoRA adapters for it, with transformers and peft.

    .venv-vllm/bin/python tests/vllm/make_tiny.py FOLDER

What it writes says nothing sensible, but vLLM serves it in full: tokenizer, chat template, schema
guided decoding, adapters. Seeds make it the same each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CONTEXT_TOKENS = 1024
ADAPTERS = {"acme-1": 11, "acme-2": 12, "globex-1": 21}
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: place for place, piece in enumerate([*_SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Return a model of about half a million weights."""
    torch.manual_seed(7)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def main(out: Path) -> None:
    """Write the base to ``out/tiny-qwen2`` and the adapters to ``out/adapters/NAME``."""
    base = out / "tiny-qwen2"
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(base)
    make_model(tokenizer).save_pretrained(base)
    for name, seed in ADAPTERS.items():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=8,
            lora_alpha=64,
            target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
            task_type="CAUSAL_LM",
            init_lora_weights=False,  # peft then fills B with noise instead of zeros
        )
        tuned = get_peft_model(Qwen2ForCausalLM.from_pretrained(base), config)
        tuned.save_pretrained(out / "adapters" / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
