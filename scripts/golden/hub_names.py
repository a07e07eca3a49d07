"""Records the names of AdapterHub's tensors in each architecture, for apps/cli/test/hub-names.test.ts.

    python scripts/golden/hub_names.py apps/cli/test/golden/hub-names.json

It needs the environment of bottlenecks.py.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import adapters  # noqa: E402
import transformers  # noqa: E402
from adapters import DoubleSeqBnConfig, DoubleSeqBnInvConfig  # noqa: E402

COMMON = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {**COMMON, "vocab_size": 64, "max_position_embeddings": 40}
# The class, its configuration and what it is for.
CASES = {
    "llama": ("LlamaForCausalLM", {**TOKENS, "num_key_value_heads": 2}, "causal-lm"),
    "mistral": ("MistralForCausalLM", {**TOKENS, "num_key_value_heads": 2}, "causal-lm"),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 40}, "causal-lm"),
    "bert": ("BertForMaskedLM", TOKENS, "masked-lm"),
    "roberta": ("RobertaForSequenceClassification", {**TOKENS, "num_labels": 3}, "sequence-classification"),
    "xlm-roberta": ("XLMRobertaForMaskedLM", TOKENS, "masked-lm"),
    "distilbert": (
        "DistilBertForMaskedLM",
        {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4, "vocab_size": 64, "max_position_embeddings": 40},
        "masked-lm",
    ),
    "deberta": ("DebertaForSequenceClassification", {**TOKENS, "num_labels": 3}, "sequence-classification"),
    "deberta-v2": ("DebertaV2ForSequenceClassification", {**TOKENS, "num_labels": 3}, "sequence-classification"),
    "vit": ("ViTForImageClassification", {**COMMON, "image_size": 8, "patch_size": 4, "num_labels": 3}, "image-classification"),
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 64, "d_model": 16, "d_kv": 4, "num_heads": 4, "d_ff": 24, "num_layers": 2, "decoder_start_token_id": 0},
        "seq2seq-lm",
    ),
}


def main(path):
    record = {}
    for kind, (name, options, task) in CASES.items():
        model_class = getattr(transformers, name)
        model = model_class(model_class.config_class(**options))
        adapters.init(model)
        config = DoubleSeqBnConfig if kind == "vit" else DoubleSeqBnInvConfig
        model.add_adapter("task", config=config(cross_adapter=kind == "t5", reduction_factor=4))
        # In an encoder's blocks cross_adapter adds nothing that is used.
        names = [k for k in model.state_dict() if ".task." in k or "adapters.task." in k]
        model.config.architectures = [name]
        record[kind] = {"config": model.config.to_diff_dict(), "task": task, "names": sorted(names)}
    with open(path, "w") as file:
        json.dump({"adapters": adapters.__version__, "cases": record}, file)


main(sys.argv[1])
