"""Writes LoRAs as mlx-lm saves them, and the logits they have there; or checks such folders that Graft wrote.

    python scripts/golden/mlx_lm_loras.py packages/lora/test/golden packages/lora/test/mlx
    python scripts/golden/mlx_lm_loras.py packages/lora/test/golden OUT --check

The models are those of packages/lora/test/golden. It needs an environment with mlx-lm (pip install "mlx[cpu]" mlx-lm==0.32.2),
which runs on the CPU too. A check prints how far logits are from those in the folder's logits.json.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model

IDS = [[3, 17, 42, 5, 63, 1, 8], [60, 2, 2, 31, 7, 55, 40]]
CASES = {
    "llama/attention": (2, {"rank": 3, "scale": 4.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "self_attn.v_proj"]}),
    "llama/last": (1, {"rank": 2, "scale": 0.5, "dropout": 0.1}),
    "gpt2/attention": (2, {"rank": 2, "scale": 2.0, "dropout": 0.0, "keys": ["attn.c_attn", "attn.c_proj"]}),
}


def padded(name, value, config):
    """mlx-lm's GPT-2 has an inner layer of four times the width, whatever n_inner says: more features that are zero."""
    more = 4 * config["n_embd"] - config["n_inner"] if config["model_type"] == "gpt2" else 0
    if ".mlp.c_proj.weight" in name:
        return mx.pad(value, [(0, more), (0, 0)])
    return mx.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, more)]) if ".mlp.c_fc." in name else value


def load(folder):
    """The model of a folder. For GPT-2 mlx-lm knows the names and keys of the first files only."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        tensors = mx.load(str(folder / "model.safetensors"))
        mx.eval(tensors)
        config = json.loads((folder / "config.json").read_text())
        named = {k.removeprefix("transformer."): padded(k, v, config) for k, v in tensors.items()}
        mx.save_safetensors(str(copy / "model.safetensors"), named)
        (copy / "config.json").write_text(json.dumps({"n_ctx": config.get("n_positions"), **config}))
        return load_model(copy, lazy=False)[0]


def logits(model):
    model.eval()
    return model(mx.array(IDS)).astype(mx.float32).flatten().tolist()


def main(models, out, check):
    mx.set_default_device(mx.cpu)
    for case, (layers, parameters) in CASES.items():
        family = case.split("/")[0]
        model = load(models / family)
        folder = out / case
        if check:
            load_adapters(model, str(folder))
            theirs = json.loads((folder / "logits.json").read_text())
            apart = max(abs(a - b) for a, b in zip(logits(model), theirs)) / max(map(abs, theirs))
            print(f"{'ok' if apart < 1e-4 else 'FAIL':4} {case:18} {apart:.1e}")
            continue
        model.freeze()
        mx.random.seed(len(case))
        linear_to_lora_layers(model, layers, parameters)
        adapter = dict(tree_flatten(model.trainable_parameters()))
        model.load_weights([(k, 0.3 * mx.random.normal(v.shape)) for k, v in adapter.items()], strict=False)
        folder.mkdir(parents=True, exist_ok=True)
        mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
        config = {"fine_tune_type": "lora", "num_layers": layers, "lora_parameters": parameters}
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        (folder / "logits.json").write_text(json.dumps(logits(model)))


main(Path(sys.argv[1]), Path(sys.argv[2]), "--check" in sys.argv)
