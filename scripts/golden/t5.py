"""Tiny random T5 models of every shape that config.json allows, with what transformers makes of them.

    python scripts/golden/t5.py

Writes folders into packages/models/test/golden; recording.py says what is in them. Rows are padded on the right.
"""
import json
import torch, transformers
from recording import IGNORE, out, randomized, record

common = dict(d_model=18, d_kv=5, d_ff=23, num_heads=3, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
cases = {
    # The first version: relu, tied and scaled; more blocks in the decoder, few and narrow buckets.
    "t5": transformers.T5Config(
        vocab_size=41, num_layers=1, num_decoder_layers=2, relative_attention_num_buckets=8,
        relative_attention_max_distance=11, layer_norm_epsilon=1e-5, **common,
    ),
    # Version 1.1: gated; its file has a head of its own. It starts to write with another token than padding.
    "t5-untied": transformers.T5Config(
        vocab_size=37, num_layers=2, num_decoder_layers=1, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        **{**common, "decoder_start_token_id": 2},
    ),
    # As transformers 5 saves version 1.1: tied after all, but not scaled.
    "t5-tied-unscaled": transformers.T5Config(
        vocab_size=31, num_layers=1, feed_forward_proj="gated-silu", tie_word_embeddings=False, **common,
    ),
}
cases["mt5"] = transformers.MT5Config(vocab_size=31, num_layers=1, **common)
chosen = {
    "t5": ["shared.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
           "decoder.block.1.layer.1.EncDecAttention.k.weight", "decoder.block.0.layer.2.DenseReluDense.wi.weight",
           "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"],
    "t5-untied": ["shared.weight", "lm_head.weight", "encoder.block.1.layer.1.DenseReluDense.wi_1.weight",
                  "encoder.final_layer_norm.weight"],
    "t5-tied-unscaled": ["shared.weight"],
    "mt5": ["shared.weight"],
}

for name, config in cases.items():
    torch.manual_seed(0)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    if name == "t5-untied":
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        model.all_tied_weights_keys.pop("lm_head.weight")
    randomized(model)
    ids = torch.randint(3, config.vocab_size, (3, 9))
    mask = torch.ones_like(ids)
    labels = torch.randint(3, config.vocab_size, (3, 6))
    for row, (length, target) in enumerate([(9, 4), (5, 6), (2, 3)]):
        ids[row, length:], mask[row, length:], labels[row, target:] = 0, 0, IGNORE
    decoder = model._shift_right(labels)
    greedy = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=7, do_sample=False, eos_token_id=None,
                            use_cache=False)
    record(
        name, model, "seq2seq-lm",
        lambda m: m(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder, use_cache=False).logits,
        {"ids": ids, "mask": mask.float(), "decoder_ids": decoder}, labels, chosen[name],
        prompts=[row[: int(m.sum())].tolist() for row, m in zip(ids, mask)], greedy=greedy[:, 1:].tolist(),
    )
    # transformers writes that head and table are tied whatever they are; older configurations said what this one was made with.
    file = out / name / "config.json"
    saved = json.loads(file.read_text())
    saved["tie_word_embeddings"] = name == "t5"
    saved.pop("scale_decoder_outputs", None)
    file.write_text(json.dumps(saved, indent=2) + "\n")

# Buckets of distances −150 … 150 (key minus query), in the encoder and in the decoder.
distances = torch.arange(-150, 151)
bucket = transformers.models.t5.modeling_t5.T5Attention._relative_position_bucket
tables = [
    {"count": count, "maxDistance": far, "bidirectional": both, "buckets": bucket(distances, both, count, far).tolist()}
    for count, far in [(32, 128), (8, 11), (14, 100)] for both in (True, False)
]
(out / "buckets.json").write_text(json.dumps(tables, separators=(",", ":")) + "\n")
