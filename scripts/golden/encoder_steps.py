"""Steps of fine-tuning a real encoder in transformers + PEFT: loss and gradient norm at every step, dropout off.

    python scripts/golden/encoder_steps.py SHARED   # SHARED holds models/ and data/

Writes apps/cli/test/golden/encoder-steps.json. Texts are the first rows of each data set's training file, and what would be
drawn at random (the head, LoRA's matrices) follows from a formula, so the test reads and makes them again: nothing is copied.
"""
import csv, json, math, pathlib, sys
import peft, torch, transformers

torch.set_num_threads(1)
shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden/encoder-steps.json"
folder = shared / "models/all-MiniLM-L6-v2"
ROWS, TOKENS, CLIP = 32, 64, 1.0
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
tokenizer.backend_tokenizer.no_padding()


def start(path, shape, scale):
    """Values that a parameter starts from: a wave whose phase is the sum of its path's characters."""
    phase = sum(map(ord, path))
    n = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(1.7 * n + phase)).float().reshape(shape)


def table(file, delimiter="\t", quoting=csv.QUOTE_NONE, header=False):
    rows = list(csv.reader(open(shared / "data" / file, encoding="utf-8"), delimiter=delimiter, quoting=quoting))
    return rows[1:] if header else rows


tasks = {
    "sst2": lambda: [((r[0],), int(r[1])) for r in table("sst2-sentence/train.tsv")],
    "rte": lambda: [((r[1], r[2]), ["entailment", "not_entailment"].index(r[3])) for r in table("rte/train.tsv", header=True)],
    "stsb": lambda: [((r[5], r[6]), float(r[4])) for r in table("stsb/sts-train.csv")],
}


def run(name, task, labels, steps, lr, lora):
    rows = tasks[task]()[: steps * ROWS]
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32)
    with torch.no_grad():
        model.classifier.weight.copy_(start("classifier.weight", model.classifier.weight.shape, 0.02))
        model.classifier.bias.zero_()
    if lora:
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=[
            "query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]))
        with torch.no_grad():
            for path, p in model.named_parameters():
                if "lora_" in path:
                    module = path[path.index("layer."):].replace(".default.weight", "")
                    p.copy_(start(module, p.shape, 0.05 if "lora_A" in path else 0.01))
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=0.0)
    model.train()
    losses, norms, tokens = [], [], []
    for i in range(0, len(rows), ROWS):
        texts, targets = zip(*rows[i : i + ROWS])
        batch = tokenizer(*map(list, zip(*texts)), truncation=True, max_length=TOKENS, padding=False)
        batch = transformers.DataCollatorWithPadding(tokenizer)(dict(batch))
        loss = model(**batch, labels=torch.tensor(targets)).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trainable, CLIP).item())
        optimizer.step()
        losses.append(loss.item())
        tokens.append(int(batch["attention_mask"].sum()))
    print(name, losses[0], losses[-1], norms[0], flush=True)
    return dict(name=name, task=task, labels=labels, lr=lr, lora=lora, trainable=sum(p.numel() for p in trainable), tokens=tokens, loss=losses, grad_norm=norms)


made_with = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
cases = [
    run("SST-2, full fine-tuning", "sst2", 2, 20, 1e-4, False),
    run("SST-2, LoRA on all linears", "sst2", 2, 20, 1e-3, True),
    run("RTE, LoRA on pairs", "rte", 2, 5, 1e-3, True),
    run("STS-B, LoRA to a score", "stsb", 1, 5, 1e-3, True),
]
out.write_text(json.dumps(dict(made_with=made_with, model=folder.name, rows=ROWS, max_length=TOKENS, max_grad_norm=CLIP, cases=cases)))
