import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { graft, project } from "./helpers.ts";
import { type Files, hubServer, useHub } from "./hub-server.ts";

const filesIn = (folder: string): Files =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

describe("a run that names a model and data on the Hub", { timeout: 60_000 }, () => {
  it("trains, remembers the names, and can be used offline", async () => {
    const folder = await project();
    const hub = await hubServer({
      "models/org/tiny": { ...filesIn(join(folder, "model")), "README.md": "not needed" },
      "datasets/org/rows": { "train.jsonl": readFileSync(join(folder, "train.jsonl")), "test.csv": "text\na gnu\n" },
    });
    useHub(hub);
    rmSync(join(folder, "model"), { recursive: true });
    writeFileSync(
      join(folder, "run.yaml"),
      "model: org/tiny\nmethods: [{ name: lora, rank: 2 }]\ndata: { train: org/rows, eval: org/rows }\ntrain: { steps: 2 }\nout: out\n",
    );
    const trained = await graft(folder, ["train", "run.yaml", "--device", "host"]);
    expect(trained.status, trained.stderr).toBe(0);
    expect(hub.requests.some((request) => request.endsWith("README.md"))).toBe(false);
    const resolved = parse(readFileSync(join(folder, "out/run.yaml"), "utf8")) as {
      model: string;
      data: { train: string };
    };
    expect([resolved.model, resolved.data.train]).toEqual(["org/tiny", "org/rows"]);
    const config = JSON.parse(readFileSync(join(folder, "out/adapter/adapter_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(config["base_model_name_or_path"]).toBe("org/tiny");

    const asked = hub.requests.length;
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const evaluated = await graft(folder, ["eval", "out/run.yaml", "--device", "host"]);
    expect(evaluated.status, evaluated.stderr).toBe(0);
    const merged = await graft(folder, ["merge", "out/run.yaml", "--out", "merged", "--device", "host"]);
    expect(merged.status, merged.stderr).toBe(0);
    expect(readdirSync(join(folder, "merged"))).toContain("tokenizer.json");
    expect(hub.requests).toHaveLength(asked);
  });

  it("fetches no weights of a model that cannot be used", async () => {
    const folder = await project();
    const files = filesIn(join(folder, "model"));
    const hub = await hubServer({ "models/org/tiny": { ...files, "config.json": '{"model_type":"rwkv"}' } });
    useHub(hub);
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--model", "org/tiny"]);
    expect(status).toBe(2);
    expect(stderr).toContain("rwkv");
    expect(hub.requests.some((request) => request.endsWith(".safetensors"))).toBe(false);
  });

  it("starts from an adapter on the Hub", async () => {
    const folder = await project();
    const first = await graft(folder, ["train", "run.yaml", "--device", "host"]);
    expect(first.status, first.stderr).toBe(0);
    const hub = await hubServer({ "models/org/adapter": filesIn(join(folder, "out/adapter")) });
    useHub(hub);
    const shown = await graft(folder, ["inspect", "--model", "model", "--adapter", "org/adapter", "--device", "host"]);
    expect(shown.stdout, shown.stderr).toMatch(/adapter +lora/);
  });

  it("is refused with its line where there is neither a folder nor a model of that name", async () => {
    const folder = await project();
    useHub(await hubServer({}));
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--model", "models/typo"]);
    expect(status).toBe(2);
    expect(stderr).toBe(
      "graft: --model: there is no folder models/typo, and the Hub has no model models/typo that everybody may read: check the name; a private one needs a token in HF_TOKEN (401).\n",
    );
  });
});
