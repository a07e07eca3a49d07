"""transformers + PEFT on the CPU, as a contender: LoRA on all linears of a BERT with a classifier, random weights and rows.

Reads its size as JSON from its first line, then makes one training step for every line; prints "ready" once and "done" after
every step. Rows are padded to the longest, as transformers' collator does. Dropout is off; AdamW is fused.
"""
import json, sys
import peft, torch, transformers

size = json.loads(sys.stdin.readline())
config = transformers.BertConfig(**size["config"])
base = transformers.BertForSequenceClassification(config)
lora = peft.LoraConfig(task_type="SEQ_CLS", r=size["rank"], lora_alpha=2 * size["rank"], target_modules="all-linear")
model = peft.get_peft_model(base, lora)
model.train()
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=1e-3, fused=True)
lengths = torch.tensor(size["lengths"])
mask = (torch.arange(lengths.max()) < lengths[:, None]).long()
ids = torch.randint(config.vocab_size, mask.shape) * mask
labels = torch.randint(config.num_labels, lengths.shape)
print("ready", flush=True)
for _ in sys.stdin:
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    optimizer.step()
    loss.item()
    print("done", flush=True)
