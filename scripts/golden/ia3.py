"""Writes the golden (IA)³ adapters of packages/ia3: what PEFT saves, what it computes, and twenty steps of its training.

    python scripts/golden/ia3.py packages/ia3/test/golden

Each case is a folder as PEFT saves it, the start of the steps in golden.json.
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
from peft import IA3Config, get_peft_model  # noqa: E402

CASES = {
    "llama": {
        "default": {},
        "chosen": {"target_modules": ["q_proj", "o_proj", "up_proj"], "feedforward_modules": ["o_proj"]},
        "expression": {"target_modules": r".*\.1\..*(k_proj|down_proj)", "feedforward_modules": r".*down_proj"},
    },
    "gpt2": {"default": {}},
    "bert": {"default": {}},
    "t5": {"default": {}},
}


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}}
    for name, cases in CASES.items():
        tiny.save(tiny.make(name), out / name / "model.safetensors")
        for case, options in cases.items():
            task = {"bert": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM"}.get(name, "CAUSAL_LM")
            model = get_peft_model(tiny.make(name), IA3Config(task_type=task, **options))
            generator = torch.Generator().manual_seed(2)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
            folder = out / name / case
            model.save_pretrained(folder)
            (folder / "README.md").unlink()
            record["cases"][f"{name}/{case}"] = tiny.train(model)
    (out / "golden.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
