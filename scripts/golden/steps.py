"""Twenty LoRA steps in torch + PEFT: the initial adapter, the batches, and loss and gradient norm at every step.

    python scripts/golden/steps.py SHARED   # SHARED holds models/ and data/

Writes apps/cli/test/golden/steps-*.json and, beside each, the adapter it starts from as PEFT saves it. The texts of the
Llama cases are the first references of E2E's training file, 40 tokens at most; they are read again by the test, not copied.
"""
import csv, json, pathlib, sys
import peft, torch, transformers

shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden"
# A gentle rate: at twice this one, float32 and float64 in torch part by more than a thousandth within the twenty steps.
STEPS, ROWS, LR, CLIP = 20, 4, 1e-3, 1.0


def text_batches(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = list(csv.DictReader(open(shared / "data/e2e/trainset.csv", encoding="utf-8")))[: STEPS * ROWS]
    ids = [tokenizer(r["ref"])["input_ids"][:40] for r in rows]
    return [ids[i : i + ROWS] for i in range(0, len(ids), ROWS)]


def letter_batches(_):
    g = torch.Generator().manual_seed(1)
    def row():
        letters = torch.randint(0, 3, (6,), generator=g).tolist()
        return letters + sorted(letters, reverse=True)[:5]  # sorted downwards: what the model has not learnt
    return [[row() for _ in range(ROWS)] for _ in range(STEPS)]


def collate(rows):
    width = max(map(len, rows))
    ids = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    labels = torch.tensor([r + [-100] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    return ids, labels, mask


def run(name, folder, batches, rslora, keep_batches):
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        if hasattr(config, key):
            setattr(config, key, 0.0)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)
    lora = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", use_rslora=rslora, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, lora)
    model.save_pretrained(out / name)
    (out / name / "README.md").unlink(missing_ok=True)
    saved = out / name / "adapter_config.json"
    saved.write_text(saved.read_text().replace(str(folder), folder.name))  # no path of this machine
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=LR, weight_decay=0.0)
    losses, norms = [], []
    model.train()
    for rows in batches:
        ids, labels, mask = collate(rows)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trainable, CLIP).item())
        optimizer.step()
        losses.append(loss.item())
    made_with = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    record = dict(made_with=made_with, model=folder.name, lr=LR, max_grad_norm=CLIP, trainable=sum(p.numel() for p in trainable),
                  tokens=[sum(map(len, rows)) for rows in batches], loss=losses, grad_norm=norms)
    if keep_batches:
        record["batches"] = batches
    (out / f"{name}.json").write_text(json.dumps(record))
    print(name, losses[0], losses[-1], norms[0], norms[-1])


for rslora in (False, True):
    suffix = "rslora" if rslora else "lora"
    llama, gpt2 = shared / "models/stories260K", shared / "models/gpt-nano-sort"
    run(f"steps-llama-{suffix}", llama, text_batches(llama), rslora, False)
    run(f"steps-gpt2-{suffix}", gpt2, letter_batches(gpt2), rslora, True)
