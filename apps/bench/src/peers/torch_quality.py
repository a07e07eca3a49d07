"""Losses of a model in transformers with its linears stored in fewer bits, as a contender.

Reads a folder and rows of tokens as JSON from its first line and prints the mean loss by what the linears but the head are stored
as: what bitsandbytes decodes; and plain four-bit integers in groups of 64, from −8 to 7 times a scale or from 0 to 15 over a range.
"""
import json, sys
import torch
from decoded import decoded
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
asked = json.loads(sys.stdin.readline())
rows = torch.tensor(asked["rows"])
plain = AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=torch.float32).eval()
GROUP = 64
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FORMS = {
    "nf4": NF4,
    "nf4, double": {**NF4, "bnb_4bit_use_double_quant": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "int8": {"load_in_8bit": True},
}


def integers(symmetric):
    for name, module in plain.named_modules():
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        flat = module.weight.data.reshape(-1)
        short = -len(flat) % GROUP
        groups = torch.cat([flat, flat[-1:].expand(short)]).reshape(-1, GROUP)
        if symmetric:
            scale = groups.abs().amax(1, keepdim=True) / 7
            values = (groups / scale).round().clamp(-8, 7) * scale
        else:
            low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
            scale = (high - low) / 15
            values = ((groups - low) / scale).round() * scale + low
        yield f"{name}.weight", values.reshape(-1)[: len(flat)].reshape(module.weight.shape)


@torch.no_grad()
def loss(weights):
    kept = {name: plain.get_parameter(name).data for name, _ in weights}
    for name, weight in weights:
        plain.get_parameter(name).data = weight
    losses = [plain(input_ids=part, labels=part).loss.item() * len(part) for part in rows.split(16)]
    for name, weight in kept.items():
        plain.get_parameter(name).data = weight
    return sum(losses) / len(rows)


answer = {"f32": loss([])}
answer.update({name: loss(list(decoded(asked["folder"], **form))) for name, form in FORMS.items()})
answer["int4, symmetric"] = loss(list(integers(True)))
answer["int4, affine"] = loss(list(integers(False)))
print(json.dumps(answer), flush=True)
