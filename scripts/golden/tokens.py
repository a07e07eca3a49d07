"""What transformers' tokenizers make of 1,000 lines in many scripts: a digest of ids and of the text they become again.

    python scripts/golden/tokens.py SHARED   # SHARED holds models/ and data/

Writes packages/models/test/golden/tokens.json: the recipe of the lines, and digests for every tokenizer and file.
"""
import hashlib, json, pathlib, re, sys
import transformers

shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parents[2] / "packages/models/test/golden/tokens.json"

# The first lines of a file that match; of JSON strings, what they stand for.
UD, CONTEXT, ANY = r"^# text = (.+)$", r'^ *"context": (".+"),?$', r"^(.+)$"
SOURCES = [
    ("tinyshakespeare/input.txt", ANY, 90), ("wikitext2-eval/valid.txt", ANY, 60), ("e2e/devset.csv", ANY, 50),
    ("xling-afrisenti/hau/train.tsv", ANY, 60), ("xling-afrisenti/pcm/train.tsv", ANY, 60),
    ("tinystories-sample/tinystories_ru_valid.jsonl", ANY, 40), ("xling-xcopa/th/val.th.jsonl", ANY, 60),
    ("xling-xcopa/ta/val.ta.jsonl", ANY, 50), ("xling-xcopa/vi/val.vi.jsonl", ANY, 50), ("instruct/alpaca_zh_demo.json", ANY, 50),
    ("xling-xquad/xquad.ar.json", CONTEXT, 40), ("xling-xquad/xquad.hi.json", CONTEXT, 40), ("xling-xquad/xquad.zh.json", CONTEXT, 50),
    ("xling-ud-pud/de_pud-ud-test.conllu", UD, 60), ("xling-ud-pud/fr_pud-ud-test.conllu", UD, 60),
    ("xling-ud-pud/fi_pud-ud-test.conllu", UD, 60), ("xling-ud-pud/tr_pud-ud-test.conllu", UD, 60),
    ("xling-ud-pud/zh_pud-ud-test.conllu", UD, 60),
]
FOLDERS = [
    "tokenizers/gpt2", "tokenizers/bert-base-uncased", "tokenizers/t5", "all-MiniLM-L6-v2",
    "stories260K", "TinyStories-656K", "babyllama-tok105", "babyllama-tok361",
]


def lines(file, pattern, count):
    found = []
    for line in (shared / "data" / file).read_text(encoding="utf-8").split("\n"):
        match = re.match(pattern, line.rstrip("\r"))
        if match and len(found) < count:
            found.append(json.loads(match[1]) if pattern == CONTEXT else match[1])
    assert len(found) == count, (file, len(found))
    return found


# Byte-order marks inside of texts are left out: the JavaScript library drops them where it puts bytes together.
def digest(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def tokenizer(folder):
    path = shared / "models" / folder
    # The class that takes tokenizer.json as it is: LlamaTokenizer of transformers 5 rebuilds it, and forgets the unknown token.
    if (path / "tokenizer_config.json").exists():
        return transformers.PreTrainedTokenizerFast.from_pretrained(path)
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"))


sources = [dict(file=f, pattern=p, count=n, json=p == CONTEXT) for f, p, n in SOURCES]
assert sum(s["count"] for s in sources) == 1000
cases = []
for folder in FOLDERS:
    tok = tokenizer(folder)
    tok.backend_tokenizer.no_truncation(), tok.backend_tokenizer.no_padding()
    added = json.loads((shared / "models" / folder / "tokenizer.json").read_text())["added_tokens"]
    special = {token["id"] for token in added if token["special"]}
    digests = []
    for file, pattern, count in SOURCES:
        ids = [tok(text)["input_ids"] for text in lines(file, pattern, count)]
        digests.append([
            digest(" ".join(map(str, row)) for row in ids),
            digest(tok.decode([i for i in row if i not in special]).replace("\ufeff", "") for row in ids),
        ])
    cases.append(dict(folder=folder, digests=digests))
out.write_text(json.dumps(dict(transformers=transformers.__version__, sources=sources, cases=cases), indent=1) + "\n")
