"""Chats as transformers writes them, and which of their tokens the assistant wrote.

    python scripts/golden/chat.py SHARED   # SHARED holds models/

Writes apps/cli/test/golden/chat.json. Every template is there twice: as models carry it, and with generation tags, from which
transformers takes its mask. The mask of the first is to be found without the tags.
"""
import json, pathlib, sys
import tokenizers, transformers

shared = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parents[2] / "apps/cli/test/golden"

PROMPT = "{% if add_generation_prompt %}"
TEMPLATES = {
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
        "{% if m['role'] == 'assistant' %}«{{ m['content'] + '<|im_end|>' }}»{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
        "{{ '\\n' }}{% endfor %}" + PROMPT + "{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    # Content is trimmed, and the text begins with a token of its own.
    "headers": (
        "{{- bos_token }}\n{%- for m in messages %}\n"
        "    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}\n"
        "    {%- if m['role'] == 'assistant' %}«-{{- m['content'] | trim + '<|eot_id|>' }}-»\n"
        "    {%- else %}{{- m['content'] | trim + '<|eot_id|>' }}{%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
    ),
    # Nothing asks for an answer, and roles must alternate.
    "brackets": (
        "{{ bos_token }}{% for m in messages %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
        "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}«{{ ' ' + m['content'] + eos_token }}»{% endif %}{% endfor %}"
    ),
    # A role is renamed.
    "turns": (
        "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
        "{{ '<start_of_turn>' + role + '\\n' }}"
        "{% if role == 'model' %}«{{ m['content'] | trim + '<end_of_turn>' }}»{% else %}{{ m['content'] | trim + '<end_of_turn>' }}{% endif %}"
        "{{ '\\n' }}{% endfor %}" + PROMPT + "{{ '<start_of_turn>model\\n' }}{% endif %}"
    ),
    # The last answer is written otherwise than the ones before it.
    "thoughts": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
        "{% if m['role'] == 'assistant' %}«{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m['content'] + '<|im_end|>' }}»"
        "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
        + PROMPT + "{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    # A turn has no mark at its end.
    "bare": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ 'A:' }}«{{ ' ' + m['content'] }}»{% else %}{{ 'Q: ' + m['content'] }}{% endif %}"
        "{{ '\\n' }}{% endfor %}" + PROMPT + "{{ 'A:' }}{% endif %}"
    ),
}
TOKENS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>"]

user = lambda content: {"role": "user", "content": content}
assistant = lambda content: {"role": "assistant", "content": content}
# No answer ends with a character of several tokens: transformers' mask has only the first of those.
CHATS = [
    [user("What is 2 + 2?"), assistant("4.")],
    [user("Hi"), assistant("Hello! How are you?"), user("Fine.\n\nAnd you?"), assistant("  Very well — thank you. ")],
    [user("Say A:"), assistant("Q: A"), user("4."), assistant("4.")],
    [user("¿Cómo se dice “cat” en 日本語?"), assistant("🐈 is 「猫」。"), user("Thanks")],
]


def tokenizer():
    data = json.loads((shared / "models/tokenizers/gpt2/tokenizer.json").read_text())
    first = len(data["model"]["vocab"])
    flags = dict(special=True, single_word=False, lstrip=False, rstrip=False, normalized=False)
    data["added_tokens"] += [dict(id=first + i, content=token, **flags) for i, token in enumerate(TOKENS)]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(data)), bos_token="<s>", eos_token="</s>"
    )


def main():
    tok = tokenizer()
    cases = []
    for name, source in TEMPLATES.items():
        left, right = "{% generation %}", "{% endgeneration %}"
        plain = source.replace("«-", "").replace("-»", "").replace("«", "").replace("»", "")
        marked = (
            source.replace("«-", "{%- generation -%}").replace("-»", "{%- endgeneration -%}")
            .replace("«", left).replace("»", right)
        )
        chats = []
        for messages in CHATS:
            text = tok.apply_chat_template(messages, chat_template=plain, tokenize=False)
            prompt = tok.apply_chat_template(messages[:1], chat_template=plain, tokenize=False, add_generation_prompt=True)
            assert text == tok.apply_chat_template(messages, chat_template=marked, tokenize=False), name
            encoded = tok.apply_chat_template(
                messages, chat_template=marked, return_dict=True, return_assistant_tokens_mask=True
            )
            ids, mask = encoded["input_ids"], encoded["assistant_masks"]
            chats.append(dict(messages=messages, text=text, prompt=prompt, ids=ids, learnt=[i for i, m in enumerate(mask) if m]))
        cases.append(dict(name=name, plain=plain, marked=marked, chats=chats))
    (out / "chat.json").write_text(json.dumps(dict(transformers=transformers.__version__, tokens=TOKENS, cases=cases), ensure_ascii=False) + "\n")


main()
