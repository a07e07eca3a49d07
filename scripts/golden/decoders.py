"""Tiny random relatives of Llama, and decoders with heads that judge texts and tokens, with what transformers makes of them.

    python scripts/golden/decoders.py

Writes folders into packages/models/test/golden; recording.py says what is in them. Rows are padded on the right.
"""
import torch, transformers
from recording import IGNORE, randomized, record

common = dict(
    vocab_size=29, hidden_size=12, intermediate_size=17, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
    max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
attention = "model.layers.0.self_attn"
relatives = {
    "mistral": (transformers.MistralConfig(**common, head_dim=6, sliding_window=24, tie_word_embeddings=True),
                [f"{attention}.v_proj.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"]),
    "qwen2": (transformers.Qwen2Config(**common, sliding_window=4, rms_norm_eps=1e-5),
              [f"{attention}.q_proj.bias", f"{attention}.o_proj.weight", "lm_head.weight"]),
    "qwen3": (transformers.Qwen3Config(**common, head_dim=10, attention_bias=True, tie_word_embeddings=True),
              [f"{attention}.q_norm.weight", f"{attention}.k_norm.weight", f"{attention}.o_proj.bias"]),
    "smollm3": (transformers.SmolLM3Config(**common, no_rope_layers=[0, 1], mlp_bias=True),
                [f"{attention}.k_proj.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.gate_proj.bias"]),
    "gemma": (transformers.GemmaConfig(**common, head_dim=8, hidden_act="gelu"),
              [f"{attention}.q_proj.weight", "model.layers.1.input_layernorm.weight", "model.layers.0.mlp.down_proj.weight"]),
    # Some of the five wavelengths are left alone, some are stretched, one lies between.
    "llama3": (transformers.LlamaConfig(**common, head_dim=10, rope_parameters={
                   "rope_type": "llama3", "rope_theta": 300.0, "factor": 3.0, "low_freq_factor": 0.5, "high_freq_factor": 2.5,
                   "original_max_position_embeddings": 24}),
               [f"{attention}.q_proj.weight", f"{attention}.k_proj.weight", "model.layers.1.self_attn.q_proj.weight"]),
    "llama-linear": (transformers.LlamaConfig(**common, head_dim=4, rope_parameters={
                         "rope_type": "linear", "rope_theta": 100.0, "factor": 2.5}),
                     [f"{attention}.q_proj.weight"]),
}
for name, (config, chosen) in relatives.items():
    torch.manual_seed(0)
    model = randomized(transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager"))
    ids = torch.randint(3, config.vocab_size, (2, 7))
    labels = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORE)
    greedy = model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)
    record(
        name, model, "causal-lm", lambda m: m(input_ids=ids).logits, {"ids": ids}, labels,
        ["model.embed_tokens.weight", *chosen], prompts=ids.tolist(), greedy=greedy[:, ids.shape[1]:].tolist(),
    )

llama = transformers.LlamaConfig(**common, num_labels=3, tie_word_embeddings=True)
gpt2 = dict(vocab_size=23, n_positions=16, n_embd=12, n_layer=1, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)
classes, numbers = torch.tensor([2, 0, 1]), torch.tensor([0.5, -1.25, 2.0])
judged = {
    "llama-score": (transformers.LlamaForSequenceClassification(llama), "sequence-classification", classes,
                    ["model.embed_tokens.weight", "score.weight"]),
    "llama-tokens": (transformers.LlamaForTokenClassification(llama), "token-classification", None,
                     ["score.weight", "score.bias"]),
    "gpt2-score": (transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**gpt2, num_labels=1)),
                   "sequence-classification", numbers, ["transformer.wte.weight", "score.weight"]),
    "gpt2-tokens": (transformers.GPT2ForTokenClassification(transformers.GPT2Config(**gpt2, num_labels=4)),
                    "token-classification", None, ["classifier.weight", "classifier.bias"]),
}
for name, (model, task, labels, chosen) in judged.items():
    torch.manual_seed(0)
    randomized(model)
    ids = torch.randint(3, model.config.vocab_size, (3, 8))
    mask = torch.ones_like(ids)
    words = torch.randint(0, model.config.num_labels, (3, 8))
    for row, length in enumerate([8, 5, 1]):
        ids[row, length:], mask[row, length:], words[row, length:] = 0, 0, IGNORE
    record(name, model, task, lambda m: m(input_ids=ids, attention_mask=mask).logits,
           {"ids": ids, "mask": mask.float()}, words if labels is None else labels, chosen)
