"""LoRA on stories260K and E2E's references, 300 steps of 16 rows, in torch + PEFT: the held-out loss that Graft is compared with.

    python scripts/golden/e2e.py SHARED   # SHARED holds models/ and data/

Writes apps/cli/test/golden/e2e.json. Rows go in file order, 64 tokens at most, start and end token included.
"""
import csv, json, pathlib, sys
import peft, torch, transformers

shared = pathlib.Path(sys.argv[1])
STEPS, ROWS, LENGTH, LR, HELD_OUT = 300, 16, 64, 5e-3, 500

folder = shared / "models/stories260K"
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)


def rows(name, count):
    texts = [r["ref"] for r in csv.DictReader(open(shared / "data/e2e" / name, encoding="utf-8"))][:count]
    return [(tokenizer(t)["input_ids"] + [tokenizer.eos_token_id])[:LENGTH] for t in texts]


def collate(batch):
    width = max(map(len, batch))
    pad = lambda value: torch.tensor([r + [value] * (width - len(r)) for r in batch])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in batch])
    return pad(0), pad(-100), mask


def held_out_loss(model, batches):
    total = labels = 0
    with torch.no_grad():
        for batch in batches:
            ids, targets, mask = collate(batch)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].flatten(0, 1)
            total += torch.nn.functional.cross_entropy(logits, targets[:, 1:].flatten(), reduction="sum").item()
            labels += (targets[:, 1:] != -100).sum().item()
    return total / labels


torch.manual_seed(0)
base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
config = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
model = peft.get_peft_model(base, config)
train, dev = rows("trainset.csv", STEPS * ROWS), rows("devset.csv", HELD_OUT)
dev = [dev[i : i + ROWS] for i in range(0, len(dev), ROWS)]
before = held_out_loss(model, dev)
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=LR, weight_decay=0.0)
for step in range(STEPS):
    ids, targets, mask = collate(train[step * ROWS : (step + 1) * ROWS])
    loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    optimizer.step()
record = dict(
    made_with=f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
    steps=STEPS, batch_size=ROWS, max_length=LENGTH, lr=LR, held_out_rows=HELD_OUT, before=before, after=held_out_loss(model, dev),
)
path = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden/e2e.json"
path.write_text(json.dumps(record, indent=2) + "\n")
print(record)
