"""Tiny random ViTs with what transformers makes of them.

    python scripts/golden/vit.py

Writes folders into packages/models/test/golden; recording.py says what is in them.
"""
import torch, transformers
from recording import randomized, record

# Images and patches of two different lengths, a width that is no power of two.
small = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=17, image_size=[6, 8],
             patch_size=[3, 2], layer_norm_eps=1e-5)
cases = {
    "vit-classes": transformers.ViTConfig(**small, num_channels=3, num_labels=4),
    "vit-gray": transformers.ViTConfig(**{**small, "num_hidden_layers": 1, "image_size": 4, "patch_size": 2},
                                       num_channels=1, num_labels=3, qkv_bias=False, hidden_act="relu"),
}
chosen = ["vit.embeddings.patch_embeddings.projection.weight", "vit.embeddings.cls_token",
          "vit.embeddings.position_embeddings", "vit.layers.0.attention.q_proj.weight", "classifier.weight"]

for name, config in cases.items():
    torch.manual_seed(0)
    model = randomized(transformers.ViTForImageClassification(config))
    model.set_attn_implementation("eager")
    size = config.image_size if isinstance(config.image_size, (list, tuple)) else [config.image_size] * 2
    pixels = torch.randn(3, config.num_channels, *size)
    labels = torch.randint(0, config.num_labels, (3,))
    dtype = lambda m: next(m.parameters()).dtype
    record(name, model, "image-classification", lambda m: m(pixel_values=pixels.to(dtype(m))).logits,
           {"pixels": pixels}, labels, chosen)
