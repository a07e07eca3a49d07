import { StateError } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { chatTemplate, templateIn, type Turn } from "./chat.ts";

const CHATML =
  "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
const user = (content: string): Turn => ({ role: "user", content });
const assistant = (content: string): Turn => ({ role: "assistant", content });
const learnt = (source: string, turns: readonly Turn[]): readonly string[] => {
  const { text, spans } = chatTemplate(source, { bos_token: "<s>" }, "t.json").render(turns);
  return spans.map(([start, end]) => text.slice(start, end));
};

describe("a chat template", () => {
  it("leaves to be learnt what the assistant wrote, with the mark at its end and without the blanks behind it", () => {
    const turns = [user("a"), assistant("b"), user("b"), assistant("c d")];
    expect(learnt(CHATML, turns)).toEqual(["b<|end|>", "c d<|end|>"]);
  });

  it("leaves nothing to be learnt of a chat without the assistant", () => {
    expect(learnt(CHATML, [user("a")])).toEqual([]);
  });

  it("says so where nothing ends the last turn", () => {
    const bare = chatTemplate(
      "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}",
      {},
      "t.json",
    );
    expect(bare.render([user("a"), assistant("b")])).toMatchObject({ text: "user: a\nassistant: b", ended: false });
    expect(bare.render([assistant("b"), user("a")]).ended).toBe(true);
    expect(chatTemplate(CHATML, {}, "t.json").render([assistant("b")]).ended).toBe(true);
  });

  it("learns a call of a tool, which has no content, where nothing but the template writes it", () => {
    const tools =
      "{% for m in messages %}{% if m.calls %}{{ '<|assistant|>call ' + m.calls[0] + '<|end|>\\n' }}{% else %}{{ '<|' + m.role + '|>' + m.content + '<|end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
    expect(learnt(tools, [user("a"), { ...assistant(""), calls: ["f"] }, user("b")])).toEqual(["call f<|end|>"]);
  });

  it("knows special tokens by their names", () => {
    expect(
      chatTemplate("{{ bos_token }}{{ messages[0].content }}", { bos_token: "<s>" }, "t.json").prompt([user("a")]),
    ).toBe("<s>a");
  });

  it("tells why it refuses a chat", () => {
    const strict = "{% if messages[0].role != 'user' %}{{ raise_exception('Roles must alternate.') }}{% endif %}";
    const refused = () => chatTemplate(strict, {}, "t.json").prompt([assistant("a")]);
    expect(refused).toThrow("the chat template of t.json refuses it: Roles must alternate.");
    expect(refused).toThrow(StateError);
  });

  it("is refused where it is damaged", () => {
    expect(() => chatTemplate("{% for m in messages %}", {}, "t.json")).toThrow(
      /^the chat template of t\.json is damaged: /,
    );
  });

  it("is refused where a turn is rewritten by those that follow, unless tags say what of it is the assistant's", () => {
    const counting = "{% for m in messages %}{{ messages | length }}{{ m.content }}{% endfor %}";
    expect(() => learnt(counting, [user("a"), assistant("b"), user("c")])).toThrow(
      /^the chat template of t\.json writes turn 1 otherwise once more follow.*\{% generation %\}/,
    );
    const tagged = counting.replace("{{ m.content }}", "{% generation %}{{ m.content }}{% endgeneration %}");
    expect(learnt(tagged, [user("a"), assistant("b")])).toEqual(["a", "b"]);
  });

  it.each([
    [
      "with tags",
      "{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    ],
    [
      "without",
      "{% for m in messages %}[{{ m.role }}]{{ m.content }};{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    ],
  ])("teaches nothing of the turns that are a prompt, %s", (_, source) => {
    const turns = [user("a"), assistant("b"), user("c"), assistant("d")];
    const { text, spans } = chatTemplate(source, {}, "t.json").render(turns, 3);
    expect(spans.map(([start, end]) => text.slice(start, end).replace(";", ""))).toEqual(["d"]);
  });

  it("is the one called default where a tokenizer has several", () => {
    const several = [
      { name: "tool_use", template: "t" },
      { name: "default", template: "d" },
    ];
    expect(templateIn({ chat_template: several })).toBe("d");
    expect(templateIn({ chat_template: "x" })).toBe("x");
    expect(templateIn({})).toBeUndefined();
  });
});
