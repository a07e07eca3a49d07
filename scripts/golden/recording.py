"""What the recordings of tiny random models have in common.

A recording is a folder in packages/models/test/golden: config.json and model.safetensors as transformers saves them (f32), and
golden.json with what transformers makes of them, computed in f64 where it lets us: the inputs by the names of a program's
inputs, the labels as the loss is told them (the shift by one is done), logits, loss, gradients of a few parameters, and loss
and gradient norm at ten steps of full fine-tuning with AdamW on that one batch.
"""
import json, pathlib, shutil
import torch, transformers

out = pathlib.Path(__file__).parents[2] / "packages/models/test/golden"
STEPS, LR = 10, 1e-3
IGNORE = -100


def rounded(tensor, digits=7):
    """Nested lists with so many digits; f32 has seven."""
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda x: float(f"{float(x):.{digits}g}"))


def randomized(model, deviation=0.15):
    """The model with biases away from zero, gains away from one and scores far from uniform; dropout off."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * deviation)
    return model.eval()


def save(name, model):
    """Writes the model's folder and returns it."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    return folder


def mean_loss(logits, labels):
    """Cross-entropy over all labels that are none of IGNORE; the squared error of numbers, or each class by itself."""
    if labels.is_floating_point() and labels.dim() == 2:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    if labels.is_floating_point():
        return torch.nn.functional.mse_loss(logits.flatten(), labels.flatten())
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE)


def record(name, model, task, forward, inputs, labels, chosen, steps=True, **more):
    """Saves the model and what it makes of one batch.

    forward: model → logits; inputs: tensors by the names of a program's inputs; chosen: parameters whose gradients are kept;
    more: whatever else golden.json is to hold.
    """
    folder = save(name, model)
    model = model.double()
    parameters = dict(model.named_parameters())
    losses, norms, first = [], [], None
    optimizer = torch.optim.AdamW(parameters.values(), lr=LR, weight_decay=0.0)
    for _ in range(STEPS if steps else 1):
        logits = forward(model)
        loss = mean_loss(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if first is None:
            gradients = {key: rounded(parameters[key].grad, digits=5) for key in chosen}
            first = {"logits": rounded(logits), "loss": loss.item(), "gradients": gradients}
        losses.append(loss.item())
        norms.append(torch.nn.utils.get_total_norm(p.grad for p in parameters.values() if p.grad is not None).item())
        optimizer.step()
    golden = {
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "task": task,
        "inputs": {key: tensor.tolist() for key, tensor in inputs.items()},
        "labels": labels.tolist(),
        **first,
        **({"steps": {"lr": LR, "loss": losses, "grad_norm": norms}} if steps else {}),
        **more,
    }
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", losses[0], losses[-1])
