"""Loads what `graft convert` made of public adapters into PEFT, on models of random weights, and compares logits.

    graft convert --model T0-3B --task seq2seq-lm --adapter SHARED/models/peft-artifacts/t0-3b-ia3/ia3.safetensors --to peft --out OUT/ia3
    graft convert --model T5-BASE --task seq2seq-lm --adapter SHARED/models/peft-artifacts/t5-prompts/sst2.npy --to peft --out OUT/prompt
    graft convert --model GPT2 --adapter SHARED/models/peft-artifacts/gpt2-lora-tigrinya --to peft --out OUT/lora
    python scripts/golden/check_artifacts.py SHARED OUT [lora prompt ia3]

--model is a folder with the config.json of such a model; `--configs OUT` writes the three into OUT. What PEFT gives is compared
with T-Few's formula, with a prompt put before the embedded tokens by hand, and with PEFT on the original LoRA. T0-3B takes
6 GB in bfloat16.
"""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import torch  # noqa: E402
from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, T5Config  # noqa: E402

TOLERANCE = 1e-4
IDS = torch.tensor([[5, 17, 400, 3, 99, 1]])


def t5(width, inner, layers, heads):
    sizes = {"d_model": width, "d_ff": inner, "num_layers": layers, "num_heads": heads, "d_kv": 64}
    head = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0}
    return T5Config(vocab_size=32128, **sizes, **head)


CONFIGS = {"t0-3b": t5(2048, 5120, 24, 32), "t5-base": t5(768, 2048, 12, 12), "gpt2": GPT2Config()}


def random_t5(name, dtype=torch.float32):
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    model = AutoModelForSeq2SeqLM.from_config(CONFIGS[name], dtype=dtype).eval()
    torch.set_default_dtype(torch.float32)
    model._prepare_encoder_decoder_kwargs_for_generation = lambda *args, **kwargs: None  # PEFT asks for it
    return model


def lora(shared, out):
    def logits(folder):
        torch.manual_seed(0)
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_config(CONFIGS["gpt2"]).eval(), folder)(IDS).logits

    return logits(out / "lora"), logits(shared / "models/peft-artifacts/gpt2-lora-tigrinya")


def prompt(shared, out):
    model = random_t5("t5-base")
    decoder = IDS[:, :3]
    rows = torch.from_numpy(numpy.load(shared / "models/peft-artifacts/t5-prompts/sst2.npy"))
    embedded = torch.cat([rows[None], model.get_input_embeddings()(IDS)], dim=1)
    by_hand = model(inputs_embeds=embedded, decoder_input_ids=decoder).logits
    adapted = PeftModel.from_pretrained(model, out / "prompt")
    return adapted(input_ids=IDS, attention_mask=torch.ones_like(IDS), decoder_input_ids=decoder).logits, by_hand


def ia3(shared, out):
    model = random_t5("t0-3b", torch.bfloat16)
    decoder = IDS[:, :3]
    vectors = load_file(shared / "models/peft-artifacts/t0-3b-ia3/ia3.safetensors")
    hooks = []
    for name, vector in vectors.items():
        module = model.get_submodule(name.removesuffix(".multi_lora_b"))
        # PEFT multiplies in f32 and rounds; so does this.
        scale = lambda _, __, y, v=vector.flatten(): (y * v).to(y.dtype)  # noqa: E731
        hooks.append(module.register_forward_hook(scale))
    by_hand = model(input_ids=IDS, decoder_input_ids=decoder).logits
    for hook in hooks:
        hook.remove()
    adapted = PeftModel.from_pretrained(model, out / "ia3")
    return adapted(input_ids=IDS, decoder_input_ids=decoder).logits, by_hand


def main(shared, out, names):
    failed = False
    for check in [{"lora": lora, "prompt": prompt, "ia3": ia3}[name] for name in names or ["lora", "prompt", "ia3"]]:
        with torch.no_grad():
            ours, expected = check(shared, out)
        apart = ((ours - expected).abs().max() / expected.abs().max()).item()
        failed |= not apart < TOLERANCE
        print(f"{'ok' if apart < TOLERANCE else 'FAIL':4} {check.__name__:8} {apart:.1e}")
    sys.exit(1 if failed else 0)


if sys.argv[1] == "--configs":
    for name, config in CONFIGS.items():
        config.save_pretrained(Path(sys.argv[2]) / name)
else:
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
