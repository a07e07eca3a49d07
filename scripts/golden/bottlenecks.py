"""Writes the golden bottleneck adapters of packages/adapters: what AdapterHub saves, and twenty steps of its training.

    python scripts/golden/bottlenecks.py packages/adapters/test/golden

It needs AdapterHub's `adapters` in an environment of its own (pip install torch==2.13.0 adapters==1.3.0), because that pins
an older transformers. Each case is one folder as AdapterHub saves it, or two for a stack: `language`, which is frozen, and
`task`. One of them is a `.bin` file, as older versions saved all of them.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import adapters  # noqa: E402
import tiny  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig, SeqBnInvConfig  # noqa: E402
from adapters.composition import Stack  # noqa: E402

# What is stacked, innermost first; the last one is trained.
PFEIFFER = {"task": SeqBnConfig(reduction_factor=4)}
HOULSBY = {"task": DoubleSeqBnConfig(reduction_factor={"0": 4, "default": 8}, non_linearity="gelu")}
PARALLEL = {"task": ParBnConfig(leave_out=[1], scaling="learned")}
INVERTIBLE = {"task": SeqBnInvConfig(reduction_factor=4, non_linearity="tanh")}
STACK = {"language": SeqBnInvConfig(reduction_factor=2, non_linearity="gelu"), **PFEIFFER}
CASES = {
    "llama/pfeiffer": PFEIFFER,
    "llama/invertible": INVERTIBLE,
    "gpt2/houlsby": HOULSBY,
    "gpt2/parallel": PARALLEL,
    "gpt2/stack": STACK,
    "bert/pfeiffer": PFEIFFER,
    "bert/houlsby": HOULSBY,
    "bert/parallel": PARALLEL,
    "bert/stack": STACK,
    "bert/flexible": PFEIFFER,
}
# What is trained beside the adapter, by a part of its name.
BESIDE = {"gpt2/houlsby": [".ln_"], "bert/houlsby": ["LayerNorm"]}


def undo_before_head(model):
    """Undoes the invertible adapter before the output embedding, which AdapterHub leaves out in models with a static head."""
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(lambda _, x: (model.base_model.invertible_adapters_forward(x[0], rev=True),))


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, adapters)}
    record = {"versions": versions, "rows": tiny.rows().tolist(), "cases": {}}
    for case, stack in CASES.items():
        name = case.split("/")[0]
        model = tiny.make(name)
        tiny.save(model, out / name / "model.safetensors")
        if case == "bert/flexible":  # with a head of AdapterHub's own
            body, config = model.bert, model.config
            model = adapters.BertAdapterModel(config)
            model.config.architectures = ["BertForSequenceClassification"]
            model.bert.load_state_dict(body.state_dict(), strict=False)  # it has no pooler
            model.add_classification_head("task", num_labels=config.num_labels)
        else:
            adapters.init(model)
            undo_before_head(model)
        for adapter, config in stack.items():
            model.add_adapter(adapter, config=config)
        generator = torch.Generator().manual_seed(2)
        last = list(stack)[-1]
        for path, parameter in model.named_parameters():
            if any(f".{adapter}." in path for adapter in stack):
                parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
            beside = ["classifier", "heads.", *BESIDE.get(case, [])]
            parameter.requires_grad = f".{last}." in path or any(part in path for part in beside)
        model.active_adapters = Stack(*stack)
        for adapter in stack:
            safe = case != "bert/pfeiffer"
            folder = out / case / (adapter if len(stack) > 1 else "")
            folder.mkdir(parents=True, exist_ok=True)
            model.save_adapter(str(folder), adapter, use_safetensors=safe, with_head=name == "bert" and adapter == last)
        record["cases"][case] = tiny.train(model)
    (out / "golden.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
