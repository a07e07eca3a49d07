"""One epoch on SST-2 sentences in transformers + PEFT, from an adapter that Graft wrote: what `graft train` is held against.

    graft train sst2.yaml --out start --train.lr 0 --train.epochs 0.004   # writes the adapter and the head that both start from
    python scripts/golden/encoder_epoch.py SHARED start/adapter 1e-3      # LoRA
    python scripts/golden/encoder_epoch.py SHARED start/adapter 1e-4 full # full fine-tuning, from the same head
    graft train sst2.yaml                                                 # the same seed, so the same start

sst2.yaml is the run file of apps/cli/README.md with shuffle: false, bucket: false and model_dropout: 0, and the methods' targets
[attn.q, attn.k, attn.v, attn.o, mlp.up, mlp.down]. Prints the loss now and then, and accuracy and loss on dev.tsv.
"""
import csv, pathlib, sys
import peft, torch, transformers

shared, start, LR, full = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), "full" in sys.argv
ROWS, TOKENS, WARMUP = 32, 64, 13
folder = shared / "models/all-MiniLM-L6-v2"
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
tokenizer.backend_tokenizer.no_padding()


def table(name):
    lines = csv.reader(open(shared / "data/sst2-sentence" / name, encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(text, int(label)) for text, label in lines]


def batches(rows):
    for i in range(0, len(rows), ROWS):
        texts, labels = zip(*rows[i : i + ROWS])
        encoded = dict(tokenizer(list(texts), truncation=True, max_length=TOKENS))
        yield dict(transformers.DataCollatorWithPadding(tokenizer)(encoded)), torch.tensor(labels)


config = transformers.AutoConfig.from_pretrained(folder, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
base = transformers.AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32)
model = peft.PeftModel.from_pretrained(base, start, is_trainable=True)
if full:  # its updates are still zero
    model = model.merge_and_unload()
    model.requires_grad_(True)
trainable = [p for p in model.parameters() if p.requires_grad]
train, dev = table("train.tsv"), table("dev.tsv")
steps = -(-len(train) // ROWS)
optimizer = torch.optim.AdamW(trainable, lr=LR, weight_decay=0.0)
schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, steps)
model.train()
for step, (batch, labels) in enumerate(batches(train), 1):
    loss = model(**batch, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    optimizer.step()
    schedule.step()
    if step % 20 == 1:
        print(f"step {step} of {steps}: loss {loss.item():.4f}", flush=True)
model.eval()
right, total = 0, 0.0
with torch.no_grad():
    for batch, labels in batches(dev):
        output = model(**batch, labels=labels)
        right += (output.logits.argmax(-1) == labels).sum().item()
        total += output.loss.item() * len(labels)
print(f"held out: accuracy {right / len(dev):.4f}, loss {total / len(dev):.4f}")
