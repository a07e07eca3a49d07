"""Writes the golden prefixes and prompts of packages/prefix: what PEFT saves, and twenty steps of its training.

    python scripts/golden/prefix.py packages/prefix/test/golden

Each case is a folder as PEFT saves it before the first step. Where rows are trained through an MLP, which PEFT does not save,
start.safetensors beside it holds what is trained.
"""

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
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

TASKS = {"llama": "CAUSAL_LM", "gpt2": "CAUSAL_LM", "bert": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM"}
CASES = {
    "prefix": PrefixTuningConfig(num_virtual_tokens=5),
    "prefix-mlp": PrefixTuningConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=6),
    "prefix-zero": PrefixTuningConfig(num_virtual_tokens=2, init_weights="zero"),
    "prompt": PromptTuningConfig(num_virtual_tokens=4),
    "prompt-vocab": PromptTuningConfig(num_virtual_tokens=3, prompt_tuning_init="SAMPLE_VOCAB"),
    "p-tuning": PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=6),
}


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}}
    for name, task in TASKS.items():
        tiny.save(tiny.make(name), out / name / "model.safetensors")
        for case, config in CASES.items():
            options = {k: v for k, v in config.to_dict().items() if v is not None and k != "peft_type"}
            torch.manual_seed(2)
            base = tiny.make(name)
            # PEFT 0.21 looks for a method of T5 that transformers 5 no longer has.
            base._prepare_encoder_decoder_kwargs_for_generation = None
            model = get_peft_model(base, type(config)(**{**options, "task_type": task}))
            folder = out / name / case
            model.save_pretrained(folder)
            (folder / "README.md").unlink()
            encoder = model.prompt_encoder["default"]
            if len(list(encoder.parameters())) > 1:
                save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, folder / "start.safetensors")
            record["cases"][f"{name}/{case}"] = tiny.train(model)
    (out / "golden.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
