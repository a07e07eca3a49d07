"""Loads adapters that Graft wrote into PEFT, beside the golden models, and compares logits; then merges them there.

    pnpm --filter @graftml/lora golden OUT
    python scripts/golden/check_lora.py packages/lora/test/golden OUT

Prints a line per adapter; fails if logits are more than 1e-4 of the largest apart, or if PEFT warns.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

IDS = [[3, 17, 42, 5, 63, 1, 8], [60, 2, 2, 31, 7, 55, 40]]
TOLERANCE = 1e-4


def distance(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def main(golden, out):
    failed = False
    for folder in sorted(p.parent for p in out.glob("*/*/adapter_config.json")):
        base = AutoModelForCausalLM.from_pretrained(golden / folder.parent.name, dtype=torch.float32).double().eval()
        ids = torch.tensor(IDS)
        plain = base(ids).logits.detach()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, folder)
        # PEFT keeps adapters in f32; all of them are cast for the comparison.
        logits = model.double().eval()(ids).logits.detach()
        ours = torch.tensor(json.loads((folder / "logits.json").read_text()), dtype=torch.float64).reshape(logits.shape)
        apart = distance(ours, logits)
        merged = distance(ours, model.merge_and_unload()(ids).logits.detach())
        # Deprecations are between PEFT and transformers; anything else is about our files, but for what PEFT says of its own
        # AdaLoRAs too: it checks their rank_pattern as if it were LoRA's.
        said = [str(w.message).splitlines()[0] for w in caught if not issubclass(w.category, FutureWarning)]
        if folder.name == "adalora":
            said = [line for line in said if "rank_pattern keys did not match" not in line]
        bad = apart > TOLERANCE or merged > TOLERANCE or distance(plain, ours) < 1e-3 or len(said) > 0
        failed |= bad
        name = f"{folder.parent.name}/{folder.name}"
        print(f"{'FAIL' if bad else 'ok':4} {name:24} attached {apart:.1e}  merged {merged:.1e}  {' | '.join(said)}")
    sys.exit(1 if failed else 0)


main(Path(sys.argv[1]), Path(sys.argv[2]))
