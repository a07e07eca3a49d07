"""Records what AdapterHub's adapters do to models of many families, for apps/cli/test/hub-logits.test.ts.

    python scripts/golden/hub_logits.py apps/cli/test/golden/hub

It needs the environment of bottlenecks.py. Each family is a folder with a model of random weights and a folder for each
adapter; logits.json has their logits, computed in f64.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import adapters  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig, SeqBnInvConfig  # noqa: E402

IDS = torch.tensor([[3, 17, 42, 5, 63, 8]])
COMMON = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {**COMMON, "vocab_size": 64, "max_position_embeddings": 40, "initializer_range": 0.3}
MODELS = {
    "bert": ("BertForMaskedLM", TOKENS),
    "roberta": ("RobertaForMaskedLM", TOKENS),
    "distilbert": (
        "DistilBertForMaskedLM",
        {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4, "vocab_size": 64, "max_position_embeddings": 40, "initializer_range": 0.3},
    ),
    "deberta-v2": (
        "DebertaV2ForSequenceClassification",
        {**TOKENS, "num_labels": 3, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    ),
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 64, "d_model": 16, "d_kv": 4, "num_heads": 4, "d_ff": 24, "num_layers": 2, "decoder_start_token_id": 0, "initializer_factor": 3.0},
    ),
}
ADAPTERS = {
    "language": SeqBnInvConfig(reduction_factor=4, non_linearity="gelu"),
    "houlsby": DoubleSeqBnConfig(reduction_factor=4),
    "parallel": ParBnConfig(reduction_factor=4),
    "everywhere": SeqBnConfig(reduction_factor=8, mh_adapter=True, leave_out=[1]),
}


def logits(model, name):
    decoder = {"decoder_input_ids": IDS[:, :3]} if model.config.is_encoder_decoder else {}
    return model.double().eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS), **decoder).logits.flatten().tolist()


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    record = {}
    for family, (name, options) in MODELS.items():
        for case, config in ADAPTERS.items():
            torch.manual_seed(0)
            model_class = getattr(transformers, name)
            model = model_class(model_class.config_class(**options))
            model.save_pretrained(out / family)
            (out / family / "generation_config.json").unlink(missing_ok=True)
            record[f"{family}/base"] = logits(model, None)
            model = model.float()
            adapters.init(model)
            head = model.get_output_embeddings()
            if head is not None:  # see undo_before_head in bottlenecks.py; T5 scales what enters its head
                head.register_forward_pre_hook(
                    lambda _, x, m=model: (m.base_model.invertible_adapters_forward(x[0], rev=True),)
                )
            model.add_adapter("task", config=config)
            generator = torch.Generator().manual_seed(2)
            for path, parameter in model.named_parameters():
                if ".task." in path:
                    parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
            model.set_active_adapters("task")
            model.save_adapter(str(out / family / case), "task", use_safetensors=True, with_head=False)
            record[f"{family}/{case}"] = logits(model, case)
    (out / "logits.json").write_text(json.dumps(record))


main(Path(sys.argv[1]))
