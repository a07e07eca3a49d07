"""Writes the golden steps of packages/diffprune: the paper's formulas in torch, with the noise that Graft draws.

    python scripts/golden/diffprune.py packages/diffprune/test/golden

Half of the steps learn gates, then the change is cut down to its budget and trains on with a new optimizer.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import tiny
import torch
import transformers

FRACTION, L0, ALPHA, LEFT, RIGHT, GATE_RATE, FIXED_RATE = 0.1, 1e-3, 1.0, -1.5, 1.5, 10.0, 5.0
CUT = tiny.STEPS // 2


def mix(x):
    h = np.asarray(x, dtype=np.uint64) & 0xFFFFFFFF
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x7FEB352D)) & np.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> np.uint64(15))) * np.uint64(0x846CA68B)) & np.uint64(0xFFFFFFFF)
    return (h ^ (h >> np.uint64(16))) & np.uint64(0xFFFFFFFF)


def uniform(step, name, shape):
    """Graft's noise: a function of seed (0), step, name and index."""
    key = 0x811C9DC5
    for letter in name:
        key = ((key ^ ord(letter)) * 0x01000193) & 0xFFFFFFFF
    state = mix(mix(mix(0) ^ np.uint64(step)) ^ mix(key))
    bits = mix(state ^ np.arange(math.prod(shape), dtype=np.uint64)) >> np.uint64(9)
    return torch.from_numpy((bits.astype(np.float64) + 0.5) / 2**23).reshape(shape)


def gate(alpha, noise):
    logits = alpha if noise is None else alpha + torch.log(noise.clamp(1e-4, 1 - 1e-4)) - torch.log(1 - noise.clamp(1e-4, 1 - 1e-4))
    return (torch.sigmoid(logits) * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def opened(alpha):
    return torch.sigmoid(alpha - math.log(-LEFT / RIGHT))


def train(structured):
    model = tiny.make("llama").double().train()
    weights = {n: p for n, p in model.named_parameters() if n.endswith("proj.weight")}
    for parameter in model.parameters():
        parameter.requires_grad = False
    diff = {n: torch.zeros_like(p, requires_grad=True) for n, p in weights.items()}
    alpha = {n: torch.full_like(p, ALPHA, requires_grad=True) for n, p in weights.items()}
    group = {n: torch.full((1, 1), ALPHA, dtype=torch.float64, requires_grad=True) for n in weights} if structured else {}
    mask = None
    trained = [*diff.values(), *alpha.values(), *group.values()]

    def optimizer(rate=1):
        gates = [*alpha.values(), *group.values()]
        return torch.optim.AdamW(
            [{"params": [*diff.values()], "lr": tiny.LR * rate}, {"params": gates, "lr": tiny.LR * GATE_RATE}], weight_decay=0.0
        )

    def z_of(name, step):
        noisy = step is not None
        z = gate(alpha[name], uniform(step, f"default/{name}.noise", alpha[name].shape) if noisy else None)
        if structured:
            z = z * gate(group[name], uniform(step, f"default/{name}.group_noise", (1, 1)) if noisy else None)
        return z

    stepper = optimizer()
    losses, norms = [], []
    for step, ids in enumerate(tiny.rows(), start=1):
        scale = {n: mask[n] if mask else z_of(n, step) for n in weights}
        changed = {n: p + scale[n] * diff[n] for n, p in weights.items()}
        loss = torch.func.functional_call(model, changed, kwargs={"input_ids": ids, "labels": ids}).loss
        if mask is None:
            loss = loss + L0 * sum((opened(alpha[n]) * (opened(group[n]) if structured else 1)).sum() for n in weights)
        stepper.zero_grad()
        loss.backward()
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        norms.append(torch.nn.utils.clip_grad_norm_(trained, tiny.CLIP).item())
        stepper.step()
        losses.append(loss.item())
        if step == CUT:
            with torch.no_grad():
                change = {n: (z_of(n, None) * diff[n]).float() for n in weights}
                sizes = torch.cat([c.abs().flatten() for c in change.values()])
                threshold = sizes.sort(descending=True).values[round(FRACTION * sizes.numel()) - 1]
                mask = {n: (c.abs() >= threshold).double() for n, c in change.items()}
                for n in weights:
                    diff[n].copy_(change[n].double() * mask[n])
            stepper = optimizer(FIXED_RATE)
    return {"trainable": sum(p.numel() for p in trained), "loss": losses, "grad_norm": norms}


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    tiny.save(tiny.make("llama"), out / "llama" / "model.safetensors")
    versions = {m.__name__: m.__version__ for m in (torch, transformers)}
    cases = {f"llama/{name}": train(name == "structured") for name in ("plain", "structured")}
    (out / "golden.json").write_text(json.dumps({"versions": versions, "rows": tiny.rows().tolist(), "cases": cases}))


main(Path(sys.argv[1]))
