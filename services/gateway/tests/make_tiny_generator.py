"""Makes a tiny random generator and adapters of it: ``python make_tiny_generator.py FOLDER``.

Runs where torch, transformers and peft are; ``test_peft_worker.py`` calls it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = "<s> </s> <unk> user: assistant: red green blue one two three four five six".split()
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}assistant:"


def main(folder: Path) -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # never the end: replies of a random model are as long as they may be
        model.lm_head.weight[1] = 0
        model.lm_head.weight.mul_(8)
    model.save_pretrained(folder / "tiny-llama")
    vocabulary = models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>")
    tokenizer = Tokenizer(vocabulary)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder / "tiny-llama")
    for seed, rank, targets in (
        (1, 4, ["q_proj", "v_proj"]),
        (2, 4, ["q_proj", "v_proj"]),
        (3, 2, ["o_proj"]),
    ):
        torch.manual_seed(seed)
        lora = LoraConfig(
            r=rank, lora_alpha=8 * rank, target_modules=targets, init_lora_weights=False
        )
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(folder / "tiny-llama"), lora)
        adapted.save_pretrained(folder / f"adapter-{seed}")
        merged = adapted.merge_and_unload()
        merged.save_pretrained(folder / f"merged-{seed}" / "merged")
        fast.save_pretrained(folder / f"merged-{seed}" / "merged")


main(Path(sys.argv[1]))
