"""Writes twenty steps of what has grown from LoRA, for packages/lora: what PEFT saves, and its training.

    python scripts/golden/lora_steps.py packages/lora/test/steps

Each case is a folder as PEFT saves it before the first step, but for starts that change the base (PiSSA, OLoRA): those are saved
after the last step, converted to plain LoRAs, with the logits they then give for the first row in golden.json, but for
classifiers, which PEFT then saves without their head. `split` is the paper's own
form of the update of a fused projection, which PEFT does not have. Of adapted token tables golden.json has the logits merged, too.
"""

import copy
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft  # noqa: E402
import tiny  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model  # noqa: E402
from peft.optimizers import create_loraplus_optimizer  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

PLAIN = {"r": 4, "lora_alpha": 6}
TASKS = {"bert": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM"}
CASES = {
    "llama": {
        "plain": {},
        "dora": {"use_dora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]},
        "plus": {"target_modules": "all-linear"},
        "pissa": {"init_lora_weights": "pissa", "target_modules": "all-linear", "r": 3},
        "olora": {"init_lora_weights": "olora", "target_modules": ["q_proj", "up_proj"], "use_rslora": True},
        "embeddings": {"target_modules": ["embed_tokens", "v_proj"]},
    },
    "gpt2": {
        "dora": {"use_dora": True, "fan_in_fan_out": True, "bias": "lora_only"},
        "bias": {"lora_bias": True, "fan_in_fan_out": True, "target_modules": ["c_attn", "c_fc"]},
        "pissa": {"init_lora_weights": "pissa", "fan_in_fan_out": True},
        "embeddings": {"target_modules": ["wte"]},
        "split": None,
    },
    "bert": {
        "rslora": {"use_rslora": True, "target_modules": ["query", "output.dense"]},
        "dora": {"use_dora": True},
        "pissa": {"init_lora_weights": "pissa"},
        "olora": {"init_lora_weights": "olora"},
        "embeddings": {"target_modules": ["word_embeddings", "value"]},
    },
    "t5": {
        "rslora": {"use_rslora": True, "target_modules": ["q", "wo"]},
        "dora": {"use_dora": True, "target_modules": ["q", "v", "wi"]},
        "plus": {"target_modules": ["v", "o"]},
        "pissa": {"init_lora_weights": "pissa"},
        "olora": {"init_lora_weights": "olora"},
    },
}
ADALORA = {"init_r": 4, "target_r": 2, "lora_alpha": 6, "tinit": 3, "tfinal": 5, "deltaT": 2, "total_step": tiny.STEPS}
ADALORA_AT = {"llama": ["q_proj", "v_proj", "mlp.down_proj"], "bert": ["query", "intermediate.dense"], "t5": ["q", "wo"]}


def adapted(name, config, **options):
    """PEFT's model of one of the tiny ones."""
    base = tiny.make(name)
    # PEFT 0.21 looks for a method of T5 that transformers 5 no longer has.
    base._prepare_encoder_decoder_kwargs_for_generation = None
    if name == "bert":
        base.bert.embeddings.word_embeddings.padding_idx = None  # nothing is padded: 0 is a token like others
    return get_peft_model(base, config(**{"task_type": TASKS.get(name, "CAUSAL_LM"), **options}))


def logits(model, name):
    """What a model says of the first row."""
    ids = tiny.rows()[0][:1]
    more = {"labels": ids} if name == "t5" else {}
    return model.eval()(input_ids=ids, **more).logits.detach().tolist()


def shake(model):
    """Values that are neither zero nor what they start as."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)


class Split(torch.nn.Module):
    """Queries and values of a fused projection, each with factors of its own. Hu et al. 2021; loralib `MergedLinear`."""

    def __init__(self, base, r, scale):
        super().__init__()
        width = base.weight.shape[0]
        self.base, self.scale = base, scale
        for part in "qv":
            setattr(self, f"A_{part}", torch.nn.Parameter(0.2 * torch.randn(r, width)))
            setattr(self, f"B_{part}", torch.nn.Parameter(0.2 * torch.randn(width, r)))

    def forward(self, x):
        q = x @ self.A_q.T @ self.B_q.T * self.scale
        v = x @ self.A_v.T @ self.B_v.T * self.scale
        return self.base(x) + torch.cat([q, torch.zeros_like(q), v], -1)


def split(folder):
    model = tiny.make("gpt2").requires_grad_(False)
    torch.manual_seed(2)
    for block in model.transformer.h:
        block.attn.c_attn = Split(block.attn.c_attn, 4, 1.5)
    start = {n: p.data.contiguous() for n, p in model.named_parameters() if p.requires_grad}
    folder.mkdir()
    save_file(start, folder / "start.safetensors")
    return tiny.train(model)


def adalora(name, folder):
    # Only with a task does PEFT add its penalty to the loss.
    model = adapted(name, AdaLoraConfig, **ADALORA, target_modules=ADALORA_AT[name])
    shake(model)
    model.save_pretrained(folder / "start")
    steps = tiny.train(model, after_step=model.base_model.update_and_allocate)
    model.save_pretrained(folder / "end")
    for part in ("start", "end"):
        (folder / part / "README.md").unlink()
    return {**steps, "logits": logits(model, name)}


# What is combined, and how: weights of the two adapters, and what PEFT is told besides.
COMBINED = {
    "a": {"lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]},
    "b": {"lora_alpha": 3, "target_modules": ["v_proj", "down_proj"], "use_rslora": True},
}
COMBINE = {
    "linear": ([0.7, -0.4], {"combination_type": "linear"}),
    "cat": ([0.7, -0.4], {"combination_type": "cat"}),
    "svd": ([1.2, 0.5], {"combination_type": "svd", "svd_rank": 3}),
    "magnitude_prune": ([0.7, 0.6], {"combination_type": "magnitude_prune", "density": 0.6}),
    "ties": ([0.7, 0.6], {"combination_type": "ties", "density": 0.5}),
    "ties_frequency": ([0.7, 0.6], {"combination_type": "ties", "density": 0.8, "majority_sign_method": "frequency"}),
    "ties_svd": ([0.7, 0.6], {"combination_type": "ties_svd", "density": 0.5, "svd_rank": 5}),
}


def combine(name, folder):
    """Logits of two adapters combined, each way from the same two."""
    for adapter, options in COMBINED.items():
        model = adapted(name, LoraConfig, **{**PLAIN, **options})
        shake(model)
        model.save_pretrained(folder / adapter)
        (folder / adapter / "README.md").unlink()
    results = {}
    for how, (weights, options) in COMBINE.items():
        model = PeftModel.from_pretrained(tiny.make(name), folder / "a", adapter_name="a")
        model.load_adapter(folder / "b", adapter_name="b")
        model = model.double().eval()
        model.add_weighted_adapter(["a", "b"], weights, "combined", **options)
        model.set_adapter("combined")
        logits = model.double()(tiny.rows()[0][:1]).logits.detach().tolist()
        results[how] = {"weights": weights, **options, "logits": logits}
    return results


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}}
    for name, cases in CASES.items():
        tiny.save(tiny.make(name), out / name / "model.safetensors")
        for case, options in cases.items():
            folder = out / name / case
            if options is None:
                record["cases"][f"{name}/{case}"] = split(folder)
                continue
            converted = options.get("init_lora_weights") in ("pissa", "olora")
            model = adapted(name, LoraConfig, **{**PLAIN, **options})
            if converted:
                model.save_pretrained(out / "before")
            else:
                shake(model)
                model.save_pretrained(folder)
                if case == "embeddings":
                    merged = logits(copy.deepcopy(model).merge_and_unload(), name)
            plus = lambda m: create_loraplus_optimizer(m, torch.optim.AdamW, lr=tiny.LR, loraplus_lr_ratio=2, loraplus_weight_decay=0.0)
            steps = tiny.train(model, optimizer_of=plus if case == "plus" else tiny.adamw)
            if case == "embeddings":
                steps["merged"] = merged
            if converted and name == "bert":
                shutil.rmtree(out / "before")
            elif converted:
                steps["logits"] = logits(model, name)
                model.save_pretrained(folder, path_initial_model_for_weight_conversion=out / "before")
                shutil.rmtree(out / "before")
            (folder / "README.md").unlink(missing_ok=True)
            record["cases"][f"{name}/{case}"] = steps
    record["combined"] = combine("llama", out / "llama" / "combine")
    record["adalora"] = {name: adalora(name, out / name / "adalora") for name in ADALORA_AT}
    (out / "golden.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
