"""A small BERT learning masked language modelling from scratch in transformers, on texts, weights and masks that Graft makes too.

    python scripts/golden/masked_lm.py SHARED   # SHARED holds models/ and data/

Writes apps/cli/test/golden/masked-lm.json: loss and gradient norm at every step. Weights and masks follow from formulas, the
masks' being that of packages/tensor/src/ops/random.ts, so nothing of them is stored.
"""
import json, math, pathlib, sys
import torch, transformers

torch.set_num_threads(1)
shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden/masked-lm.json"
STEPS, ROWS, TOKENS, LR, CLIP, SEED, RATE = 40, 8, 24, 2e-3, 1.0, 7, 0.15
WORD = 0xFFFFFFFF
config = dict(model_type="bert", vocab_size=30522, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
              max_position_embeddings=32, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12, initializer_range=0.02,
              pad_token_id=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, tie_word_embeddings=True)


def mix(h):
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & WORD
    h = ((h ^ (h >> 15)) * 0x846CA68B) & WORD
    return h ^ (h >> 16)


def key_of(name):
    h = 0x811C9DC5
    for c in name:
        h = ((h ^ ord(c)) * 0x01000193) & WORD
    return mix(h)


def uniform(seed, step, key, index):
    state = mix(mix(mix(seed) ^ step) ^ key)
    return ((mix(state ^ index) >> 9) + 0.5) / 2**23


def start(name, shape):
    """Uniform values of deviation 0.02 from a hash of the name and the place; norms one, biases zero."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if "LayerNorm" in name:
        return torch.ones(shape)
    n = torch.arange(math.prod(shape), dtype=torch.float64)
    wave = torch.sin(12.9898 * n + sum(map(ord, name))) * 43758.5453
    return ((wave - wave.floor() - 0.5) * 0.02 * math.sqrt(12)).float().reshape(shape)


tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "models/tokenizers/bert-base-uncased")
special = set(tokenizer.all_special_ids)
lines = [l.strip() for l in open(shared / "data/wikitext2-eval/valid.txt", encoding="utf-8")]
texts = [l for l in lines if len(l) > 200][: 20 * ROWS]  # two epochs of twenty steps
rows = [tokenizer(t, truncation=True, max_length=TOKENS)["input_ids"] for t in texts]


def hide(ids, epoch, number):
    key = key_of(f"{key_of('masked tokens')} {number}")
    draw = lambda t, i: uniform(SEED, epoch, key, 3 * t + i)
    inputs, labels = list(ids), [-100] * len(ids)
    for t, token in enumerate(ids):
        if token in special or draw(t, 0) >= RATE:
            continue
        labels[t] = token
        u = draw(t, 1)
        inputs[t] = tokenizer.mask_token_id if u < 0.8 else int(draw(t, 2) * config["vocab_size"]) if u < 0.9 else token
    return inputs, labels


model = transformers.BertForMaskedLM(transformers.BertConfig(**config))
with torch.no_grad():
    for name, p in model.named_parameters():
        p.copy_(start(name, p.shape))
trainable = list(model.parameters())
optimizer = torch.optim.AdamW(trainable, lr=LR, weight_decay=0.0)
model.train()
losses, norms = [], []
for step in range(STEPS):
    numbers = [(step * ROWS + i) % len(rows) for i in range(ROWS)]
    hidden = [hide(rows[n], step * ROWS // len(rows), n) for n in numbers]
    width = max(len(ids) for ids, _ in hidden)
    pad = lambda values, filler: torch.tensor([v + [filler] * (width - len(v)) for v in values])
    ids, labels = pad([i for i, _ in hidden], 0), pad([l for _, l in hidden], -100)
    mask = pad([[1] * len(i) for i, _ in hidden], 0)
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    norms.append(torch.nn.utils.clip_grad_norm_(trainable, CLIP).item())
    optimizer.step()
    losses.append(loss.item())
made_with = f"torch {torch.__version__}, transformers {transformers.__version__}"
out.write_text(json.dumps(dict(made_with=made_with, config=config, rows=ROWS, tokens=TOKENS, texts=len(texts), lr=LR, max_grad_norm=CLIP, seed=SEED,
                               parameters=sum(p.numel() for p in trainable), loss=losses, grad_norm=norms)))
print(losses[0], losses[-1], norms[0], norms[-1])
