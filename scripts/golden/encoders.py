"""Tiny random encoders of every shape that config.json allows, with what transformers makes of them.

    python scripts/golden/encoders.py [name …]

Writes folders into packages/models/test/golden; recording.py says what is in them. Rows are padded on the right.
"""
import sys
import torch, transformers
from recording import IGNORE, randomized, record

# Nothing is square, even or equal to something else where it need not be.
small = dict(hidden_size=12, num_attention_heads=3, num_hidden_layers=2, intermediate_size=17, layer_norm_eps=1e-5)
bert = lambda **more: transformers.BertConfig(
    **{**small, "vocab_size": 37, "max_position_embeddings": 14, "type_vocab_size": 3, "pad_token_id": 0, **more}
)
roberta = lambda **more: transformers.RobertaConfig(
    **{**small, "vocab_size": 31, "max_position_embeddings": 15, "type_vocab_size": 1, "pad_token_id": 2, **more}
)
distilbert = lambda **more: transformers.DistilBertConfig(
    **{"vocab_size": 29, "max_position_embeddings": 11, "n_layers": 2, "n_heads": 3, "dim": 12, "hidden_dim": 19, **more}
)
# Distances go beyond the table of version 1 and into the wide buckets of version 2.
relative = dict(relative_attention=True, pad_token_id=0, layer_norm_eps=1e-5)
deberta = lambda **more: transformers.DebertaConfig(
    **{**small, **relative, "vocab_size": 27, "max_position_embeddings": 9, "max_relative_positions": 5,
       "pos_att_type": "c2p|p2c", **more}
)
deberta_v2 = lambda **more: transformers.DebertaV2Config(
    **{**small, **relative, "vocab_size": 27, "max_position_embeddings": 9, "max_relative_positions": 8,
       "position_buckets": 4, "pos_att_type": ["p2c", "c2p"], **more}
)
block = "encoder.layer.1"
cases = {
    "bert-tokens": ("masked-lm", bert(), ["bert.embeddings.word_embeddings.weight",
        "bert.encoder.layer.0.attention.self.query.weight", "cls.predictions.transform.dense.weight", "cls.predictions.bias"]),
    "bert-tokens-untied": ("masked-lm", bert(tie_word_embeddings=False, hidden_act="relu", num_hidden_layers=1),
        ["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"]),
    "bert-classes": ("sequence-classification", bert(num_labels=5, hidden_act="gelu_new"),
        ["bert.embeddings.word_embeddings.weight", "bert.embeddings.token_type_embeddings.weight",
         f"bert.{block}.output.dense.weight", "bert.pooler.dense.weight", "classifier.weight"]),
    "bert-score": ("sequence-classification", bert(num_labels=1, num_hidden_layers=1),
        ["bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.attention.output.LayerNorm.weight"]),
    "bert-several": ("sequence-classification", bert(num_labels=4, num_hidden_layers=1, problem_type="multi_label_classification"),
        ["bert.embeddings.word_embeddings.weight", "classifier.weight"]),
    "bert-tags": ("token-classification", bert(num_labels=4, num_hidden_layers=1),
        ["bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.bias", "classifier.bias"]),
    "roberta-tokens": ("masked-lm", roberta(), ["roberta.embeddings.word_embeddings.weight",
        "roberta.embeddings.position_embeddings.weight", f"roberta.{block}.attention.self.key.weight", "lm_head.bias"]),
    "roberta-classes": ("sequence-classification", roberta(num_labels=3, type_vocab_size=2, num_hidden_layers=1),
        ["roberta.embeddings.word_embeddings.weight", "roberta.embeddings.position_embeddings.weight",
         "classifier.dense.weight", "classifier.out_proj.weight"]),
    "roberta-tags": ("token-classification", roberta(num_labels=3, num_hidden_layers=1),
        ["roberta.embeddings.word_embeddings.weight", "classifier.weight"]),
    "xlm-roberta-classes": ("sequence-classification",
        transformers.XLMRobertaConfig(**{**roberta(num_labels=2).to_dict(), "pad_token_id": 1}),
        ["roberta.embeddings.word_embeddings.weight", f"roberta.{block}.attention.self.value.weight"]),
    "distilbert-tokens": ("masked-lm", distilbert(), ["distilbert.embeddings.word_embeddings.weight",
        "distilbert.transformer.layer.0.attention.k_lin.weight", "vocab_transform.weight", "vocab_projector.bias"]),
    "distilbert-classes": ("sequence-classification", distilbert(num_labels=3),
        ["distilbert.embeddings.word_embeddings.weight", "distilbert.transformer.layer.1.ffn.lin1.weight",
         "pre_classifier.weight", "classifier.weight"]),
    "distilbert-tags": ("token-classification", distilbert(num_labels=3, n_layers=1),
        ["distilbert.embeddings.word_embeddings.weight", "distilbert.transformer.layer.0.sa_layer_norm.weight"]),
    "deberta-tokens": ("masked-lm", deberta(), ["deberta.embeddings.word_embeddings.weight",
        "deberta.encoder.rel_embeddings.weight", f"deberta.{block}.attention.self.in_proj.weight",
        f"deberta.{block}.attention.self.pos_q_proj.bias", "deberta.encoder.layer.0.attention.self.v_bias"]),
    "deberta-classes": ("sequence-classification",
        deberta(num_labels=3, type_vocab_size=2, position_biased_input=False, pos_att_type=["c2p"], num_hidden_layers=1),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.layer.0.attention.self.pos_proj.weight",
         "pooler.dense.weight", "classifier.weight"]),
    "deberta-tags": ("token-classification", deberta(num_labels=3, num_hidden_layers=1, relative_attention=False),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.layer.0.attention.self.q_bias"]),
    # As version 3 is made: projections shared with distances, whose table is normed.
    "deberta-v2-tokens": ("masked-lm",
        deberta_v2(share_att_key=True, norm_rel_ebd="layer_norm", position_biased_input=False, legacy=False),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.rel_embeddings.weight",
         "deberta.encoder.LayerNorm.weight", f"deberta.{block}.attention.self.key_proj.weight",
         "lm_predictions.lm_head.bias"]),
    "deberta-v2-tokens-legacy": ("masked-lm", deberta_v2(num_hidden_layers=1, pos_att_type="p2c"),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.layer.0.attention.self.pos_query_proj.weight",
         "cls.predictions.transform.dense.weight"]),
    "deberta-v2-classes": ("sequence-classification",
        deberta_v2(num_labels=3, pooler_hidden_act="tanh", type_vocab_size=2),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.rel_embeddings.weight",
         f"deberta.{block}.attention.self.pos_query_proj.bias", "pooler.dense.bias", "classifier.weight"]),
    # As the large models of version 2 are made: a convolution after the first block.
    "deberta-v2-neighbours": ("sequence-classification",
        deberta_v2(num_labels=3, conv_kernel_size=3, conv_act="gelu", share_att_key=True),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.conv.conv.weight",
         "deberta.encoder.conv.LayerNorm.bias", "deberta.encoder.layer.0.attention.self.query_proj.weight"]),
    "deberta-v2-tags": ("token-classification",
        deberta_v2(num_labels=3, num_hidden_layers=1, position_buckets=-1, max_relative_positions=-1),
        ["deberta.embeddings.word_embeddings.weight", "deberta.encoder.layer.0.attention.self.query_proj.weight"]),
}
auto = {
    "masked-lm": transformers.AutoModelForMaskedLM,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
}


def labels_of(task, config, ids, mask):
    """What the logits are held against: a class, a number, a 0 or 1 for each class, or a token at every third place."""
    if task == "sequence-classification":
        if config.problem_type == "multi_label_classification":
            return torch.randint(0, 2, (len(ids), config.num_labels)).double()
        return torch.randn(len(ids)) if config.num_labels == 1 else torch.randint(0, config.num_labels, (len(ids),))
    classes = config.vocab_size if task == "masked-lm" else config.num_labels
    labels = torch.randint(0, classes, ids.shape)
    labels[(mask == 0) | (torch.arange(ids.shape[1]) % 3 == 0)] = IGNORE
    return labels


for name, (task, config, chosen) in cases.items():
    if len(sys.argv) > 1 and name not in sys.argv[1:]:
        continue
    torch.manual_seed(0)
    model = randomized(auto[task].from_config(config, dtype=torch.float32, attn_implementation="eager"))
    pad = config.pad_token_id
    ids = torch.randint(3, config.vocab_size, (3, 7 if config.model_type.find("deberta") < 0 else 9))
    mask = torch.ones_like(ids)
    # What DeBERTa makes of padding, and who but it sees that, is its own affair: only heads that look away have any there.
    padded = task == "sequence-classification" or not name.startswith("deberta")
    for row, length in enumerate([ids.shape[1], 4, 2] if padded else []):
        ids[row, length:], mask[row, length:] = pad, 0
    types = {}
    if getattr(config, "type_vocab_size", 0) > 1:
        types = {"token_type_ids": torch.randint(0, config.type_vocab_size, ids.shape)}
    labels = labels_of(task, config, ids, mask)
    record(
        name, model, task, lambda m: m(input_ids=ids, attention_mask=mask, **types).logits,
        {"ids": ids, "mask": mask.float(), **({"types": types["token_type_ids"]} if types else {})}, labels, chosen,
    )
