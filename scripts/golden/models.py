"""Tiny random models of every shape that config.json allows, with what transformers makes of them.

    python scripts/golden/models.py

Writes folders into packages/models/test/golden; recording.py says what is in them.
"""
import torch, transformers
from recording import IGNORE, randomized, record

# Nothing is square, even or equal to something else where it need not be.
cases = {
    "llama": (
        transformers.LlamaConfig(
            vocab_size=61, hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=10, max_position_embeddings=32, rms_norm_eps=1e-5, attention_bias=True,
            mlp_bias=True, tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            pad_token_id=None, bos_token_id=1, eos_token_id=2,
        ),
        ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.bias",
         "model.layers.0.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight"],
    ),
    "llama-tied": (
        transformers.LlamaConfig(
            vocab_size=43, hidden_size=18, intermediate_size=29, num_hidden_layers=1, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=32, tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh",
            pad_token_id=0, bos_token_id=1, eos_token_id=[2, 3],
        ),
        ["model.embed_tokens.weight", "model.layers.0.self_attn.v_proj.weight"],
    ),
    "gpt2": (
        transformers.GPT2Config(
            vocab_size=59, n_positions=24, n_embd=24, n_layer=2, n_head=3, n_inner=50, layer_norm_epsilon=1e-4,
            scale_attn_by_inverse_layer_idx=True, bos_token_id=1, eos_token_id=2,
        ),
        ["transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.attn.c_attn.weight",
         "transformer.h.1.attn.c_attn.bias", "transformer.h.1.mlp.c_proj.weight", "transformer.ln_f.bias"],
    ),
    "gpt2-untied": (
        transformers.GPT2Config(
            vocab_size=31, n_positions=16, n_embd=12, n_layer=1, n_head=2, activation_function="relu",
            scale_attn_weights=False, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
        ),
        ["transformer.wte.weight", "lm_head.weight"],
    ),
}


for name, (config, chosen) in cases.items():
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomized(model)
    ids = torch.randint(3, config.vocab_size, (2, 9))
    labels = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORE)
    greedy = model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)
    record(
        name, model, "causal-lm", lambda m: m(input_ids=ids).logits, {"ids": ids}, labels, chosen,
        prompts=ids.tolist(), greedy=greedy[:, ids.shape[1]:].tolist(),
    )
