"""Loads (IA)³ adapters that Graft wrote into PEFT and compares logits with those of PEFT's own, attached and merged.

    pnpm --filter @graftml/ia3 golden OUT
    python scripts/golden/check_ia3.py packages/ia3/test/golden OUT
"""

import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import tiny  # noqa: E402
from peft import PeftModel  # noqa: E402

TOLERANCE = 1e-4


def logits(folder, name, merge=False):
    model = PeftModel.from_pretrained(tiny.make(name), folder).double().eval()
    return (model.merge_and_unload() if merge else model)(tiny.rows()[0]).logits.detach()


def main(golden, out):
    failed = False
    for folder in sorted(p.parent for p in out.glob("*/*/adapter_config.json")):
        name = folder.parent.name
        theirs = logits(golden / name / folder.name, name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = logits(folder, name)
        apart = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        merged = ((logits(folder, name, merge=True) - theirs).abs().max() / theirs.abs().max()).item()
        said = [str(w.message).splitlines()[0] for w in caught if not issubclass(w.category, FutureWarning)]
        bad = apart > TOLERANCE or merged > TOLERANCE or len(said) > 0
        failed |= bad
        print(f"{'FAIL' if bad else 'ok':4} {name}/{folder.name:12} attached {apart:.1e}  merged {merged:.1e}  {' | '.join(said)}")
    sys.exit(1 if failed else 0)


main(Path(sys.argv[1]), Path(sys.argv[2]))
