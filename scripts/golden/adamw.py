"""Trajectories of torch's AdamW and SGD in float64: gradients that are given, parameters after every step.

    python scripts/golden/adamw.py

Writes packages/trainer/test/golden/optimizers.json. Two parameters, "a" [3] and "b" [70], are in groups of their own; b's has
four times the learning rate and no weight decay. The learning rate falls from step to step; gradients have been scaled as
clip_grad_norm_ does with a maximum of 1.
"""
import json, pathlib
import torch

STEPS, RATES = 6, [0.1, 0.09, 0.05, 0.02, 0.01, 0.003]
out = pathlib.Path(__file__).parents[2] / "packages/trainer/test/golden/optimizers.json"


def values(size, phase, scale):
    return torch.sin(1.3 * torch.arange(size, dtype=torch.float64) + phase) * scale


def gradients(step):
    return values(3, step, 0.2 + step), values(70, 2 * step, 0.1)


def trajectory(make, decay, **settings):
    a, b = (torch.nn.Parameter(values(n, 0, 1.0)) for n in (3, 70))
    groups = [{"params": [a], "weight_decay": decay}, {"params": [b], "weight_decay": 0.0}]
    optimizer = make(groups, lr=1.0, **settings)
    steps = []
    for step, rate in enumerate(RATES):
        a.grad, b.grad = gradients(step)
        norm = torch.nn.utils.clip_grad_norm_([a, b], 1.0)
        for group, scale in zip(optimizer.param_groups, (1.0, 4.0)):
            group["lr"] = rate * scale
        optimizer.step()
        steps.append(dict(norm=norm.item(), a=a.tolist(), b=b.tolist()[::23]))
    return dict(decay=decay, settings=settings, steps=steps)


cases = dict(
    adamw=[trajectory(torch.optim.AdamW, 0.0), trajectory(torch.optim.AdamW, 0.1, betas=[0.8, 0.95], eps=1e-4)],
    sgd=[trajectory(torch.optim.SGD, 0.0), trajectory(torch.optim.SGD, 0.1, momentum=0.9)],
)
out.write_text(json.dumps(dict(made_with=f"torch {torch.__version__}", rates=RATES, **cases)) + "\n")
