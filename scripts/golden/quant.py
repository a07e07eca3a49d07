"""Writes the golden checkpoints of packages/quant: what transformers saves with bitsandbytes, and LoRA steps on what it decodes.

    python scripts/golden/quant.py packages/quant/test/golden SHARED   # SHARED holds models/

For each tiny model: its weights, a folder for each way to store them, and the LoRA that twenty steps start from. golden.json
holds these steps, taken in torch on the decoded weights, and a digest of every decoded weight; stories260K.json a digest of
every tensor that transformers saves of that model.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import bitsandbytes  # noqa: E402
import peft  # noqa: E402
import tiny  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute  # noqa: E402
from bitsandbytes.functional import dequantize_blockwise, int8_vectorwise_dequant  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: E402

torch.set_num_threads(1)  # sums of scales then have one order

FORMS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4-double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "int8": {"load_in_8bit": True},
}


def digest(tensor):
    """Sixteen digits that no other bytes are likely to have."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def quantized(source, form, folder):
    """Lets transformers quantize the model in `source` and save it to `folder`; returns the model."""
    settings = BitsAndBytesConfig(**FORMS[form])
    model = AutoModelForCausalLM.from_pretrained(source, quantization_config=settings, dtype=torch.float32)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    return model


def decoded_4bit(codes, state):
    """What a weight's codes stand for, by the portable kernel: that for AVX-512 takes rows to be whole blocks, right or wrong."""
    scales = state.absmax
    if state.nested:
        scales = dequantize_blockwise(state.absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(codes.reshape(-1), scales, state.code, state.blocksize, state.shape, torch.float32)


def decoded(model):
    """Weights [out, in] of the quantized linears, by name."""
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            weights[f"{name}.weight"] = decoded_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            weights[f"{name}.weight"] = int8_vectorwise_dequant(module.weight.CB, module.weight.SCB)
    return weights


def tiny_forms(out, record):
    for name in ("llama", "gpt2"):
        plain = tiny.make(name)
        tiny.save(plain, out / name / "model.safetensors")
        with tempfile.TemporaryDirectory() as source:
            plain.save_pretrained(source)
            for form in FORMS:
                weights = decoded(quantized(source, form, out / name / form))
                record["decoded"][f"{name}/{form}"] = {key: digest(w) for key, w in weights.items()}
                model = tiny.make(name)
                for key, weight in weights.items():
                    parameter = model.get_parameter(key)
                    parameter.data = weight.T.contiguous() if name == "gpt2" else weight
                torch.manual_seed(3)
                config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
                model = peft.get_peft_model(model, config)
                model.save_pretrained(out / name / "lora")
                (out / name / "lora/README.md").unlink()
                record["cases"][f"{name}/{form}"] = tiny.train(model)


def main(out, shared):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft, bitsandbytes)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}, "decoded": {}}
    tiny_forms(out, record)
    (out / "golden.json").write_text(json.dumps(record))
    digests = {}
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            quantized(shared / "models/stories260K", form, Path(folder))
            with safe_open(Path(folder) / "model.safetensors", "pt") as file:
                digests[form] = {key: digest(file.get_tensor(key)) for key in file.keys()}
    (out / "stories260K.json").write_text(json.dumps(digests))


main(Path(sys.argv[1]), Path(sys.argv[2]))
