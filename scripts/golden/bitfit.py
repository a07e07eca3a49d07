"""Writes the golden steps of packages/bitfit: twenty steps of torch training biases and nothing else.

    python scripts/golden/bitfit.py packages/bitfit/test/golden

A model without biases is given zeros for them, in every linear but the head.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import tiny  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

# Which biases are trained, by a part of their names.
CASES = {
    "llama/all": [""],
    "gpt2/all": [""],
    "gpt2/half": ["attn.c_attn", "mlp.c_fc"],
    "bert/all": [""],
    "bert/half": ["attention.self.query", "intermediate.dense"],
    "t5/all": [""],
}


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}}
    for case, parts in CASES.items():
        name = case.split("/")[0]
        model = tiny.make(name)
        tiny.save(model, out / name / "model.safetensors")
        for path, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and module.bias is None and path != "lm_head":
                module.bias = torch.nn.Parameter(torch.zeros(module.out_features))
        for path, parameter in model.named_parameters():
            chosen = path.endswith(".bias") and any(part in path for part in parts)
            parameter.requires_grad = chosen or path.startswith("classifier.")  # which is trained with every method
        record["cases"][case] = tiny.train(model)
    (out / "golden.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
