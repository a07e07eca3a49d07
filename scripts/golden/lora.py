"""Writes the golden LoRAs of packages/lora: two tiny models, PEFT's adapters on them, what torch and PEFT compute.

    python scripts/golden/lora.py packages/lora/test/golden

Weights and adapters are f32; logits, losses and gradients are computed in f64 from them, so that a test can be strict.
versions.json records what made them.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM  # noqa: E402

IDS = [[3, 17, 42, 5, 63, 1, 8], [60, 2, 2, 31, 7, 55, 40]]

MODELS = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
            initializer_range=0.3,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=64,
            n_embd=16,
            n_inner=24,
            n_layer=2,
            n_head=4,
            n_positions=32,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
        )
    ),
}

# For each model the adapters by name: what PEFT is asked for.
CASES = {
    "llama": {
        "default": {},
        "all-linear": {"target_modules": "all-linear", "lora_dropout": 0.1, "use_rslora": True, "lora_alpha": 16},
        "patterns": {
            "target_modules": ["q_proj", "v_proj", "mlp.down_proj"],
            "rank_pattern": {"down_proj": 2, "^model.layers.1.self_attn.q_proj": 6, "q_proj": 3},
            "alpha_pattern": {"layers.0.self_attn.v_proj": 32},
        },
        "layers": {"target_modules": ["q_proj", "up_proj", "gate_proj"], "layers_to_transform": [1], "exclude_modules": ["gate_proj"]},
        "expression": {"target_modules": r".*\.0\..*\.(k_proj|o_proj)", "init_lora_weights": "gaussian"},
        "head": {"target_modules": ["v_proj", "lm_head"]},
    },
    "gpt2": {
        "default": {"fan_in_fan_out": True},
        "bias-all": {"fan_in_fan_out": True, "bias": "all", "target_modules": ["c_attn", "mlp.c_proj"]},
        "bias-lora-only": {"fan_in_fan_out": True, "bias": "lora_only", "target_modules": ["c_fc"], "lora_alpha": 3},
    },
}


def random_values(model, seed):
    """Gives every trainable parameter values that are neither zero nor the base's."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)


def main(out):
    for name, make in MODELS.items():
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(0)
        model = make()
        # Gains and biases that are not their defaults.
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.data += 0.2 * torch.randn(parameter.shape)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        ids = torch.tensor(IDS)
        expected = {"base.logits": model.double().eval()(ids).logits.detach()}
        for seed, (case, options) in enumerate(CASES[name].items()):
            base = make()
            base.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
            base.tie_weights()
            adapted = get_peft_model(base, LoraConfig(**{"r": 4, "task_type": "CAUSAL_LM", **options}))
            random_values(adapted, seed)
            adapted.save_pretrained(folder / case)
            (folder / case / "README.md").unlink()
            adapted = adapted.double().eval()
            result = adapted(ids, labels=ids)
            result.loss.backward()
            expected[f"{case}.logits"] = result.logits.detach()
            expected[f"{case}.loss"] = result.loss.detach()
            for key, parameter in adapted.named_parameters():
                if parameter.grad is not None:
                    expected[f"{case}.{key.replace('.default', '')}"] = parameter.grad
        save_file({key: value.contiguous() for key, value in expected.items()}, folder / "expected.safetensors")
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (out / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


main(Path(sys.argv[1]))
