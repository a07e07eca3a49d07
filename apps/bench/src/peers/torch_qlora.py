"""LoRA in torch + PEFT on what bitsandbytes decodes of a model's NF4, as a contender: held-out losses by start.

Reads folders, those of the adapters to start from among them, and sizes as JSON from its first line. Rows go in file order, start and end token included.
"""
import csv, json, sys
import peft, torch, transformers
from decoded import decoded

asked = json.loads(sys.stdin.readline())
STEPS, ROWS, LENGTH, HELD_OUT = (asked[key] for key in ("steps", "rows", "length", "heldOut"))
tokenizer = transformers.AutoTokenizer.from_pretrained(asked["model"])
weights = dict(decoded(asked["model"], load_in_4bit=True, bnb_4bit_quant_type="nf4"))


def rows(name, count):
    texts = [r["ref"] for r in csv.DictReader(open(f"{asked['data']}/{name}", encoding="utf-8"))][:count]
    ids = [(tokenizer(t)["input_ids"] + [tokenizer.eos_token_id])[:LENGTH] for t in texts]
    return [ids[i : i + ROWS] for i in range(0, len(ids), ROWS)]


def logits_and_targets(model, batch):
    width = max(map(len, batch))
    pad = lambda value: torch.tensor([r + [value] * (width - len(r)) for r in batch])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in batch])
    return model(input_ids=pad(0), attention_mask=mask).logits[:, :-1].flatten(0, 1), pad(-100)[:, 1:].flatten()


train, dev = rows("trainset.csv", STEPS * ROWS), rows("devset.csv", HELD_OUT)
losses = []
for start in asked["starts"]:
    base = transformers.AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32)
    for name, weight in weights.items():
        base.get_parameter(name).data = weight.clone()
    model = peft.PeftModel.from_pretrained(base, start, is_trainable=True)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=asked["lr"], weight_decay=0.0)
    for batch in train:
        loss = torch.nn.functional.cross_entropy(*logits_and_targets(model, batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
    with torch.no_grad():
        parts = [logits_and_targets(model, batch) for batch in dev]
        total = sum(torch.nn.functional.cross_entropy(y, t, reduction="sum").item() for y, t in parts)
        losses.append(total / sum((t != -100).sum().item() for _, t in parts))
print(json.dumps(losses), flush=True)
