"""Loads bottleneck adapters that Graft wrote into AdapterHub and compares logits with those of AdapterHub's own, stacks too.

    pnpm --filter @graftml/adapters golden OUT
    python scripts/golden/check_bottlenecks.py packages/adapters/test/golden OUT

It needs the environment of bottlenecks.py.
"""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import adapters  # noqa: E402
import tiny  # noqa: E402
from adapters.composition import Stack  # noqa: E402

TOLERANCE = 1e-4


def logits(folder, name):
    """Logits with the adapter of a folder, or with those of its folders `language` and `task` stacked."""
    model = tiny.make(name)
    if folder.name == "flexible":
        body, model = model.bert, adapters.BertAdapterModel(model.config)
        model.bert.load_state_dict(body.state_dict(), strict=False)
    else:
        adapters.init(model)
    stack = [folder] if (folder / "adapter_config.json").exists() else [folder / "language", folder / "task"]
    names = []
    for i, path in enumerate(stack):
        safe = (path / "adapter.safetensors").exists()
        info = {}
        names.append(model.load_adapter(str(path), load_as=f"adapter{i}", use_safetensors=safe, loading_info=info))
        # What belongs to another adapter of the stack is reported as missing, too.
        assert not [k for k in info["missing_keys"] if f".{names[-1]}." in k] and not info["unexpected_keys"], info
    model.active_adapters = Stack(*names)
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _, x: (model.base_model.invertible_adapters_forward(x[0], rev=True),))
    return model.double().eval()(tiny.rows()[0]).logits.detach()


def main(golden, out):
    failed = False
    for case in sorted(p for p in golden.glob("*/*") if p.is_dir()):
        name = case.parent.name
        theirs = logits(case, name)
        apart = ((logits(out / name / case.name, name) - theirs).abs().max() / theirs.abs().max()).item()
        failed |= apart > TOLERANCE
        print(f"{'FAIL' if apart > TOLERANCE else 'ok':4} {name}/{case.name:12} {apart:.1e}")
    sys.exit(1 if failed else 0)


main(Path(sys.argv[1]), Path(sys.argv[2]))
