"""Loads prefixes and prompts that Graft wrote into PEFT, beside the tiny models, and compares logits.

    pnpm --filter @graftml/prefix golden OUT
    python scripts/golden/check_prefix.py OUT

Prints a line per adapter; fails if logits are more than 1e-4 of the largest apart, or if PEFT warns.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import tiny  # noqa: E402
import torch  # noqa: E402
from peft import PeftModel  # noqa: E402

TOLERANCE = 1e-4
# The pass of the battery.
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
TYPES = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 0]])
WRITTEN = torch.tensor([[0, 7, 2, 8], [0, 1, 6, 1]])
INPUTS = {
    "llama": {},
    "gpt2": {},
    "bert": {"attention_mask": MASK, "token_type_ids": TYPES},
    "t5": {"attention_mask": MASK, "decoder_input_ids": WRITTEN},
}


def main(out):
    failed = False
    for folder in sorted(p.parent for p in out.glob("*/*/adapter_config.json")):
        name = folder.parent.name
        base = tiny.make(name)
        base._prepare_encoder_decoder_kwargs_for_generation = None  # as in prefix.py
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, folder).double().eval()
        theirs = model(input_ids=IDS, **INPUTS[name]).logits.detach()
        ours = torch.tensor(json.loads((folder / "logits.json").read_text()), dtype=torch.float64)
        if theirs.dim() == 3:
            theirs = theirs[:, -(ours.numel() // theirs.shape[0] // theirs.shape[2]) :]  # without the prompt's own
        apart = ((ours.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max()).item()
        said = [str(w.message).splitlines()[0] for w in caught if not issubclass(w.category, FutureWarning)]
        bad = apart > TOLERANCE or len(said) > 0
        failed |= bad
        print(f"{'FAIL' if bad else 'ok':4} {name}/{folder.name:12} {apart:.1e}  {' | '.join(said)}")
    sys.exit(1 if failed else 0)


main(Path(sys.argv[1]))
