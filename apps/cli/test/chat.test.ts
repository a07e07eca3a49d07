import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { graft, project, RUN } from "./helpers.ts";

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ 'q ' if m.role == 'user' else 'a ' }}{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ 'a ' }}{% endif %}";
const chat = [
  { role: "user", content: "hi" },
  { role: "assistant", content: "ho" },
];

async function chatProject(template: string | null = TEMPLATE): Promise<string> {
  const folder = await project(RUN.replace("  eval: dev.csv\n", ""));
  writeFileSync(join(folder, "train.jsonl"), `${JSON.stringify({ messages: chat })}\n`);
  if (template !== null) writeFileSync(join(folder, "model/chat_template.jinja"), template);
  return folder;
}

describe("chats", { timeout: 60_000 }, () => {
  it("are shown token by token, with what is learnt", async () => {
    const folder = await chatProject();
    const { stdout, stderr } = await graft(folder, ["inspect", "--tokens", "run.yaml"]);
    expect(stdout, stderr).toBe("train.jsonl:1: 11 tokens, 3 learnt (in brackets)\n<s>|q| |h|i|</s>|a| |⟦h|o|</s>⟧\n");
    const json = await graft(folder, ["inspect", "--tokens", "--json", "run.yaml"]);
    const { rows } = JSON.parse(json.stdout) as { rows: readonly { labels: readonly number[] }[] };
    expect(rows[0]?.labels.filter((label) => label >= 0)).toHaveLength(3);
  });

  it("train on what the assistant wrote", async () => {
    const folder = await chatProject();
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--device", "host", "--train.steps", "1"]);
    expect(status, stderr).toBe(0);
  });

  it("are answered by their template", async () => {
    const folder = await chatProject();
    const asked = ["--prompt", "hi", "--max-new-tokens", "3", "--device", "host", "--json"];
    const written = async (...args: readonly string[]): Promise<unknown> =>
      JSON.parse((await graft(folder, ["generate", "--model", "model", ...args, ...asked.slice(2)])).stdout);
    const [answer] = (await written("--chat", "--prompt", "hi")) as readonly {
      readonly ids: unknown;
      readonly prompt: string;
    }[];
    // What the template writes around "hi", as ids: <s> q _ h i </s> a _
    const ids = [1, 21, 3, 12, 13, 2, 5, 3].join(" ");
    expect(await written("--ids", ids)).toMatchObject([{ ids: answer?.ids }]);
    expect(answer?.prompt).toBe("hi");
    const { stderr } = await graft(await chatProject(null), ["generate", "--model", "model", "--chat", ...asked]);
    expect(stderr).toBe("graft: --chat: this model's tokenizer has no chat template (chat_template.jinja).\n");
  });

  it("are refused before a device is opened where nothing of them would be learnt", async () => {
    const folder = await chatProject();
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--data.max_length", "6"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /^graft: train\.jsonl: nothing would be learnt: none of 1 rows has a label among its first 6/,
    );
  });

  it("are refused by a model without a chat template", async () => {
    const folder = await chatProject(null);
    const { status, stderr } = await graft(folder, ["train", "run.yaml"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^graft: train\.jsonl:1: the model's tokenizer has no chat template.*chat_template\.jinja/);
  });

  it("are refused with their line where the template refuses them", async () => {
    const folder = await chatProject("{{ raise_exception('No chats today.') }}");
    const { stderr } = await graft(folder, ["train", "run.yaml"]);
    expect(stderr).toMatch(/^graft: train\.jsonl:1: the chat template of .* refuses it: No chats today\.$/m);
  });
});
