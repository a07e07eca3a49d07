import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { graft, project } from "./helpers.ts";
import { type Files, hubServer, useHub } from "./hub-server.ts";

const PUSH = ["push", "--adapter", "out/adapter", "--repo", "me/first"];

/** A finished run. */
async function trained(): Promise<string> {
  const folder = await project();
  const { status, stderr } = await graft(folder, ["train", "run.yaml", "--device", "host"]);
  expect(status, stderr).toBe(0);
  return folder;
}

const text = (files: Files | undefined, name: string): string => Buffer.from(files?.[name] ?? "").toString();

describe("graft push", { timeout: 60_000 }, () => {
  it("uploads an adapter that can be used by its name", async () => {
    const folder = await trained();
    const hub = await hubServer({});
    useHub(hub);
    vi.stubEnv("HF_TOKEN", "hf_secret");
    const { status, stdout, stderr } = await graft(folder, [...PUSH, "--base", "org/tiny"]);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(new RegExp(`^✓ ${hub.url}/me/first \\(commit [0-9a-f]{7}\\)\\n$`));
    const files = hub.repos["models/me/first"];
    expect(Object.keys(files ?? {}).sort()).toEqual(["README.md", "adapter_config.json", "adapter_model.safetensors"]);
    expect(JSON.parse(text(files, "adapter_config.json"))).toMatchObject({ base_model_name_or_path: "org/tiny" });
    const shown = await graft(folder, ["inspect", "--model", "model", "--adapter", "me/first", "--device", "host"]);
    expect(shown.stdout, shown.stderr).toMatch(/adapter +lora/);
  });

  it("adds a commit to a repository that is there", async () => {
    const folder = await trained();
    const hub = await hubServer({ "models/me/first": { "notes.md": "mine", "README.md": "old" } });
    useHub(hub);
    vi.stubEnv("HF_TOKEN", "hf_secret");
    expect((await graft(folder, PUSH)).status).toBe(0);
    expect(text(hub.repos["models/me/first"], "notes.md")).toBe("mine");
    expect(text(hub.repos["models/me/first"], "README.md")).toContain("# first");
  });

  it("writes a card that says how the adapter was made, and names no place of this machine", async () => {
    const folder = await trained();
    const { stdout, stderr } = await graft(folder, [...PUSH, "--dry-run"]);
    const [, front = "", card = ""] = /^---\n(.*?)---\n(.*)$/s.exec(stdout) ?? [];
    expect(parse(front), stderr).toEqual({ library_name: "peft", tags: ["graft", "lora"] });
    expect(card).toContain("An adapter of `model`, trained with Graft.");
    for (const row of [
      "### lora",
      "| rank | 2 |",
      "| target | all-linear |",
      "| data | train.jsonl |",
      "| held-out data | dev.csv |",
      "| steps | 6 |",
      "| rows of a step | 2 |",
      "| lr | 0.001 |",
    ])
      expect(card).toContain(row);
    expect(card).toMatch(/\| trained parameters \| [\d,]+ of [\d,]+ \([\d.]+ %\) \|/);
    expect(card).toMatch(/\| held-out loss \| \d/);
    expect(card).toMatch(/\| graft \| \d+\.\d+\.\d+/);
    expect(card).not.toContain(folder);
    expect(card).not.toMatch(/\| [^|]*\.\.\//);
  });

  it("writes what there is to say where only the adapter is left", async () => {
    const folder = await trained();
    rmSync(join(folder, "out/run.yaml"));
    const { stdout } = await graft(folder, [...PUSH, "--dry-run", "--json", "--base", "org/tiny"]);
    const { card } = JSON.parse(stdout) as { card: string };
    expect(card).toContain("An adapter of [org/tiny](https://huggingface.co/org/tiny)");
    expect(card).not.toContain("## Training");
  });

  it("is refused before anything is sent", async () => {
    const folder = await trained();
    const hub = await hubServer({});
    useHub(hub);
    const refused = async (...args: readonly string[]): Promise<string> => {
      const { status, stderr } = await graft(folder, ["push", ...args]);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await refused("--adapter", "out/adapter")).toMatch(/^graft: --repo is missing: /);
    expect(await refused("--adapter", "out", "--repo", "me/first")).toMatch(
      /^graft: out is no adapter: it has no adapter_config\.json/,
    );
    expect(await refused("--adapter", "out/adapter", "--repo", "first")).toMatch(
      /^graft: --repo: wants a name such as org\/name/,
    );
    expect(await refused(...PUSH.slice(1))).toMatch(
      /^graft: pushing needs a token with write access in HF_TOKEN: see http/,
    );
    expect(hub.requests).toEqual([]);
  });

  it("fails with what the Hub says where the token may not write", async () => {
    const folder = await trained();
    const hub = await hubServer({});
    useHub(hub);
    vi.stubEnv("HF_TOKEN", "hf_reader");
    hub.fault = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    const { status, stderr } = await graft(folder, PUSH);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /the Hub does not give access to the model me\/first \(403\).*the token must be allowed to write\.$/m,
    );
  });
});
