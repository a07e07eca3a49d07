"""Figures of scikit-learn, scipy, seqeval, sacrebleu and rouge_score on small made-up sets.

    pip install scikit-learn scipy seqeval sacrebleu rouge_score
    python scripts/golden/metrics.py

Writes packages/trainer/test/golden/metrics.json: what goes in, and what the packages make of it.
"""
import json, pathlib, random, warnings
from rouge_score import rouge_scorer
import sacrebleu
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as span_f1, precision_score, recall_score
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.filterwarnings("ignore")
out = pathlib.Path(__file__).parents[2] / "packages/trainer/test/golden/metrics.json"
dice = random.Random(0)


def classes(kinds, n, right):
    wanted = [dice.randrange(kinds) for _ in range(n)]
    found = [w if dice.random() < right else dice.randrange(kinds) for w in wanted]
    return judged(wanted, found)


def judged(wanted, found):
    return dict(wanted=wanted, found=found, accuracy=accuracy_score(wanted, found), f1=f1_score(wanted, found, labels=[1], average=None, zero_division=0)[0],
                macro_f1=f1_score(wanted, found, average="macro", zero_division=0), matthews=matthews_corrcoef(wanted, found))


def several(kinds, n, right):
    wanted = [[int(dice.random() < 0.4) for _ in range(kinds)] for _ in range(n)]
    found = [[w if dice.random() < right else 1 - w for w in row] for row in wanted]
    return judged_several(wanted, found)


def judged_several(wanted, found):
    return dict(wanted=wanted, found=found, accuracy=accuracy_score(wanted, found),
                **{f"{average}_f1": f1_score(wanted, found, average=average, zero_division=0) for average in ["micro", "macro"]})


def scores(x, y):
    return dict(wanted=x, found=y, pearson=pearsonr(x, y).statistic, spearman=spearmanr(x, y).statistic)


def spans(wanted, found):
    return dict(wanted=wanted, found=found, f1=span_f1(wanted, found), precision=precision_score(wanted, found), recall=recall_score(wanted, found))


def texts(found, references):
    # sacrebleu wants streams of references; a text with fewer repeats its last.
    most = max(map(len, references))
    streams = [[r[min(i, len(r) - 1)] for r in references] for i in range(most)]
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=False)
    each = [scorer.score_multi(r, f) for f, r in zip(found, references)]
    return dict(found=found, references=references, bleu=sacrebleu.corpus_bleu(found, streams).score,
                **{n: sum(s[n].fmeasure for s in each) / len(each) for n in names})


tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
tagged = [[dice.choice(tags) for _ in range(dice.randrange(1, 12))] for _ in range(30)]
guessed = [[t if dice.random() < 0.7 else dice.choice(tags) for t in row] for row in tagged]
said = [
    "The Vaults pub near Café Adriatic has a 5 star rating. Prices start at £30.",
    "Close to Café Brazil, Cotto (a pub) serves cheap food: it isn't bad!",
    "In 1,234 of 10-20 cases, e.g. U.S.A. &quot;quoted&quot; & more/less...",
    "Alimentum is not family-friendly.",
]
meant = [
    ["The Vaults pub near Café Adriatic has a 5 star rating. Prices start at £30."],
    ["Close to Café Brazil, The Cotto is a pub that serves cheap food.", "Cotto, a cheap pub, is close to Café Brazil; it is bad."],
    ["In 1,234 of 20-30 cases, i.e. in the U.S.A., \"quoted\" & less.", "Something else altogether, 1.5 times."],
    ["Alimentum is a place in the city centre. It is not family-friendly.", "Alimentum is not child friendly."],
]
x = [round(dice.gauss(2.5, 1), 1) for _ in range(60)]
record = dict(
    classes=[classes(2, 50, 0.7), classes(5, 80, 0.5), judged([0] * 6, [0] * 6), judged([1, 1, 0, 0], [0, 0, 0, 0]), judged([0, 2, 2], [2, 1, 0])],
    scores=[scores(x, [round(v + dice.gauss(0, 1), 1) for v in x]), scores([1, 2, 3, 4], [1, 4, 9, 100])],
    spans=[spans(tagged, guessed), spans([["B-A", "I-A", "I-B", "B-B"]], [["I-A", "I-A", "I-B", "B-B"]]), spans([["O", "O"]], [["O", "B-A"]])],
    # Without a common 4-gram, smoothing acts; the short text lets the brevity penalty act.
    texts=[texts(said, meant), texts(["the cat sat on a mat today"], [["a cat sat upon the mat"]]), texts(["the cat sat on"], [["the cat sat on the mat all day"]]),
           texts(["no word here is shared"], [["entirely different phrase"]]), texts(["short"], [["short"]])],
    # The last class of the second is neither wanted nor found.
    several=[several(4, 60, 0.8), judged_several([[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [0, 1, 0]]), judged_several([[0, 0]], [[0, 0]])],
)
out.write_text(json.dumps(record, ensure_ascii=False))
print(out.stat().st_size, "bytes")
