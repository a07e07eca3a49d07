"""Weights of a folder's model as bitsandbytes decodes them."""
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import bitsandbytes, torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.functional import dequantize_blockwise, int8_vectorwise_dequant
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def decoded(folder, **form):
    """By name. The kernel for AVX-512 takes rows to be whole blocks, right or wrong: it is not used."""
    settings = BitsAndBytesConfig(**form)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=settings)
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            codes, state = module.weight.data.reshape(-1), module.weight.quant_state
            scales = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
            block, shape = state.blocksize, state.shape
            yield f"{name}.weight", _dequantize_4bit_compute(codes, scales, state.code, block, shape, torch.float32)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            yield f"{name}.weight", int8_vectorwise_dequant(module.weight.CB, module.weight.SCB)
