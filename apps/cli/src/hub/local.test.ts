import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withFiles } from "../../test/helpers.ts";
import { type Files, hubServer, useHub } from "../../test/hub-server.ts";
import { localAdapter, localData, localModel } from "./local.ts";

async function hubWith(repos: Record<string, Files>): Promise<readonly string[]> {
  const server = await hubServer(repos);
  useHub(server);
  return server.requests;
}

const fetched = (requests: readonly string[]): readonly string[] =>
  requests.flatMap((request) => /\/resolve\/[^/]+\/(.*)$/.exec(request)?.[1] ?? []).sort();

const named = (...paths: readonly string[]): Files => Object.fromEntries(paths.map((path) => [path, path]));

describe("what a run names", () => {
  it("is the folder of that name wherever there is one", async () => {
    const requests = await hubWith({ "models/org/name": named("config.json") });
    const folder = join(withFiles({ "org/name/config.json": "{}" }), "org/name");
    expect(await localModel(folder, { weights: true })).toBe(folder);
    expect(await localAdapter(folder)).toBe(folder);
    expect(await localData(folder, "train")).toEqual([folder]);
    expect(requests).toEqual([]);
  });

  it("is explained as a folder and as a name where it is neither", async () => {
    await hubWith({});
    await expect(localModel("org/nope", { weights: true })).rejects.toThrow(
      /^there is no folder org\/nope, and the Hub has no model org\/nope that everybody may read/,
    );
    await expect(localData("org/nope", "train")).rejects.toThrow(
      /^there is no data file org\/nope, and the Hub has no data set org\/nope/,
    );
    await expect(localModel("./nope", { weights: true })).rejects.toThrow(
      "there is no folder nope; a name on the Hub would be org/name.",
    );
  });
});

describe("a model on the Hub", () => {
  const beside = ["README.md", "onnx/model.onnx", "pytorch_model.bin", "training_args.bin"];

  it.each([
    [["model.safetensors", "config.json", "tokenizer.json"], []],
    [
      [
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
      ],
      [],
    ],
    [
      ["config.json", "model.safetensors"],
      ["model-00001-of-00001.safetensors", "model.fp16.safetensors"],
    ],
  ])("is fetched as %j", async (needed, others) => {
    const requests = await hubWith({ "models/org/name": named(...needed, ...others, ...beside) });
    await localModel("org/name", { weights: true });
    expect(fetched(requests)).toEqual(needed.toSorted());
  });

  it("is fetched without its weights where they are not needed", async () => {
    const requests = await hubWith({ "models/org/name": named("config.json", "model.safetensors") });
    await localModel("org/name", { weights: false });
    expect(fetched(requests)).toEqual(["config.json"]);
  });

  it("is refused for weights of another format before anything is fetched", async () => {
    const requests = await hubWith({ "models/org/name": named("config.json", "pytorch_model.bin") });
    await expect(localModel("org/name", { weights: true })).rejects.toThrow(
      "org/name has no weights that can be read: model.safetensors, or its parts with an index. It has pytorch_model.bin.",
    );
    expect(fetched(requests)).toEqual([]);
  });
});

describe("an adapter on the Hub", () => {
  it.each([
    ["PEFT", ["adapter_config.json", "adapter_model.safetensors"]],
    ["mlx-lm", ["adapter_config.json", "adapters.safetensors"]],
    ["AdapterHub", ["adapter_config.json", "head_config.json", "pytorch_adapter.bin", "pytorch_model_head.bin"]],
  ])("is its configuration and its weights, as %s has them", async (_, files) => {
    const requests = await hubWith({ "models/org/name": named(...files, "tokenizer.json", "optimizer.pt") });
    await localAdapter("org/name");
    expect(fetched(requests)).toEqual(files);
  });
});

describe("a data set on the Hub", () => {
  const parquet = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];

  it.each<[string, readonly string[], string, "train" | "eval", readonly string[]]>([
    ["the files of the split", [...parquet, "data/test-0.parquet"], "org/name", "train", parquet],
    ["validation before test", ["validation.csv", "test.csv", "train.csv"], "org/name", "eval", ["validation.csv"]],
    ["test where there is no validation", ["test.csv", "train.csv"], "org/name", "eval", ["test.csv"]],
    ["one type where there are several", ["train.csv", "train.parquet"], "org/name", "train", ["train.parquet"]],
    ["the only file there is", ["all.jsonl", "notes.md"], "org/name", "train", ["all.jsonl"]],
    [
      "one of several sets",
      ["cola/train-0.parquet", "sst2/train-0.parquet"],
      "org/name/sst2",
      "train",
      ["sst2/train-0.parquet"],
    ],
    ["a file that is named", ["a.csv", "b/c.csv"], "org/name/b/c.csv", "eval", ["b/c.csv"]],
  ])("is %s", async (_, paths, name, split, expected) => {
    const requests = await hubWith({ "datasets/org/name": named(...paths) });
    const files = await localData(name, split);
    expect(fetched(requests)).toEqual(expected);
    expect(files.map((file) => file.split(/snapshots\/[^/]+\//)[1])).toEqual(expected);
  });

  it("comes with its description, which is no data", async () => {
    const requests = await hubWith({ "datasets/org/name": named("train.csv", "README.md", "dataset_infos.json") });
    const files = await localData("org/name", "train");
    expect(fetched(requests).toSorted()).toEqual(["README.md", "dataset_infos.json", "train.csv"]);
    expect(files.map((file) => file.split(/snapshots\/[^/]+\//)[1])).toEqual(["train.csv"]);
  });

  it("must be told from others in the same repository", async () => {
    await hubWith({ "datasets/org/name": named("cola/train-0.parquet", "sst2/train-0.parquet") });
    await expect(localData("org/name", "train")).rejects.toThrow(
      "org/name holds several data sets: cola, sst2. Name one of them: org/name/cola.",
    );
  });

  it("is refused with what there is where a split is missing", async () => {
    await hubWith({ "datasets/org/name": named("train.csv", "more.csv") });
    await expect(localData("org/name", "eval")).rejects.toThrow(
      "org/name has no file for data.eval; it has train.csv, more.csv. Name a file: org/name/train.csv.",
    );
  });

  it("may stand in a list with files", async () => {
    await hubWith({ "datasets/org/name": named("train.csv") });
    const file = join(withFiles({ "a.csv": "x" }), "a.csv");
    const [first, second] = await localData([file, "org/name"], "train");
    expect([first, second?.endsWith("train.csv")]).toEqual([file, true]);
  });
});
