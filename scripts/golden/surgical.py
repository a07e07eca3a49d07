"""Writes the golden steps of packages/surgical: automatic surgical fine-tuning in torch.

    python scripts/golden/surgical.py packages/surgical/test/golden

Ranks on five micro-batches at the start of the one epoch, as anniesch/surgical-finetuning does, then trains.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import tiny
import torch
import transformers

BATCHES, THRESHOLD = 5, 0.95


def measured(model, trained, measure):
    """The mean over micro-batches of a number for each group of parameters."""
    totals = dict.fromkeys(trained, 0.0)
    for ids in tiny.rows()[:BATCHES]:
        loss = model(input_ids=ids, labels=ids).loss
        gradients = torch.autograd.grad(loss, [p for ps in trained.values() for p in ps])
        gradients = iter(gradients)
        for name, ps in trained.items():
            totals[name] += measure(ps, [next(gradients) for _ in ps]) / BATCHES
    return totals


def relative(ps, gs):
    norm = lambda ts: torch.cat([t.flatten() for t in ts]).norm().item()
    return norm(gs) / norm(ps)


def signal_to_noise(ps, gs):
    (g,) = gs
    return ((g * g) / (torch.var(g, dim=0, keepdim=True) + 1e-8)).mean().item()


def rates(model, kind):
    named = {n: p for n, p in model.named_parameters() if "norm" not in n}
    groups = {}
    for name, p in named.items():
        block = re.search(r"\.(\d+)\.", name)
        groups.setdefault(f"block {block[1]}" if kind == "layer" and block else name, []).append(p)
    if kind == "snr":
        found = {n: float(v >= THRESHOLD) for n, v in measured(model, groups, signal_to_noise).items()}
    else:
        found = measured(model, groups, relative)
        found = {n: v / max(found.values()) for n, v in found.items()}
    return [({"params": ps, "lr": tiny.LR * found[name]}) for name, ps in groups.items()]


def steps(kind):
    model = tiny.make("llama").double()
    for name, p in model.named_parameters():
        p.requires_grad = "norm" not in name
    return tiny.train(model, lambda m: torch.optim.AdamW(rates(m, kind), weight_decay=0.0))


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    tiny.save(tiny.make("llama"), out / "llama" / "model.safetensors")
    versions = {m.__name__: m.__version__ for m in (torch, transformers)}
    cases = {f"llama/{kind}": steps(kind) for kind in ("tensor", "layer", "snr")}
    (out / "golden.json").write_text(json.dumps({"versions": versions, "rows": tiny.rows().tolist(), "cases": cases}))


main(Path(sys.argv[1]))
