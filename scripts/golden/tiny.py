"""Tiny models and twenty steps of training on them, for the scripts that record what a reference does.

Weights are f32 and steps are computed in f64, so that a test can be strict. Rows have one length, so that nothing is padded.
"""

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

SIZES = {"vocab_size": 64, "initializer_range": 0.3}
STEPS, ROWS, LENGTH, LR, CLIP = 20, 4, 8, 1e-2, 1.0

MODELS = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
            **SIZES,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            n_embd=16,
            n_inner=24,
            n_layer=2,
            n_head=4,
            n_positions=32,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **SIZES,
        )
    ),
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=3,
            **SIZES,
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(
            vocab_size=64,
            d_model=16,
            d_kv=4,
            d_ff=24,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=4,
            dropout_rate=0.0,
            initializer_factor=1.0,
            decoder_start_token_id=0,
        )
    ),
}


def make(name):
    """A model of always the same weights, with gains and biases that are not their defaults."""
    torch.manual_seed(0)
    model = MODELS[name]()
    model.config.architectures = [type(model).__name__]
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape)
        if "relative_attention_bias" in name:
            parameter.data.zero_()  # the tiny T5 tells other distances apart
    return model


def save(model, path):
    """Writes a model's weights under their names in the state dict; what is tied, once, by its first name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: p.data.contiguous() for name, p in model.named_parameters()}, path, metadata={"format": "pt"})


def rows():
    """Token ids of every step, [STEPS, ROWS, LENGTH]."""
    return torch.randint(0, SIZES["vocab_size"], (STEPS, ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


def labels(model, ids):
    """Every token, or of a classifier one label for each row, which its first token decides."""
    return ids[:, 0] % model.config.num_labels if "Classification" in model.config.architectures[0] else ids


def adamw(model):
    """The optimizer of all steps, on everything that is trained."""
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, weight_decay=0.0)


def train(model, optimizer_of=adamw, after_step=lambda step: None):
    """Loss and gradient norm of every step."""
    model = model.double().train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer_of(model)
    losses, norms = [], []
    for step, ids in enumerate(rows()):
        loss = model(input_ids=ids, labels=labels(model, ids)).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, CLIP).item())
        optimizer.step()
        after_step(step + 1)
        losses.append(loss.item())
    return {"trainable": sum(p.numel() for p in trained), "loss": losses, "grad_norm": norms}
