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
}
auto = {
    "masked-lm": transformers.AutoModelForMaskedLM,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
}


def labels_of(task, config, ids, mask):
    """What the logits are held against: a class, a number, or a token at every third place."""
    if task == "sequence-classification":
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
    ids = torch.randint(3, config.vocab_size, (3, 7))
    mask = torch.ones_like(ids)
    for row, length in enumerate([7, 4, 2]):
        ids[row, length:], mask[row, length:] = pad, 0
    types = {}
    if getattr(config, "type_vocab_size", 0) > 1:
        types = {"token_type_ids": torch.randint(0, config.type_vocab_size, ids.shape)}
    labels = labels_of(task, config, ids, mask)
    record(
        name, model, task, lambda m: m(input_ids=ids, attention_mask=mask, **types).logits,
        {"ids": ids, "mask": mask.float(), **({"types": types["token_type_ids"]} if types else {})}, labels, chosen,
    )
