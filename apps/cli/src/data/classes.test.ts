import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyFolder, withFiles } from "../../test/helpers.ts";
import { parquet } from "../../test/parquet.ts";
import { classesOf } from "./classes.ts";
import { layoutsOf } from "./columns.ts";
import { findLabels } from "./labels.ts";
import { firstRows } from "./read.ts";

const front = (info: string): string => `---\nlicense: mit\ndataset_info:\n${info}\n---\n# Data\n`;
const FEATURES = `  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
  - name: tags
    sequence:
      class_label:
        names: {'0': O, '1': B-PER}`;

describe("names of classes", () => {
  it.each<[string, Readonly<Record<string, string>>, string, unknown]>([
    ["a README", { "README.md": front(FEATURES) }, "train.csv", { label: ["neg", "pos"], tags: ["O", "B-PER"] }],
    [
      "a README one folder up",
      { "README.md": front(FEATURES) },
      "data/train.csv",
      { label: ["neg", "pos"], tags: ["O", "B-PER"] },
    ],
    [
      "dataset_infos.json",
      {
        "dataset_infos.json":
          '{"default":{"features":{"label":{"num_classes":2,"names":["a","b"],"_type":"ClassLabel"}}}}',
      },
      "train.csv",
      { label: ["a", "b"] },
    ],
    ["a README that is about something else", { "README.md": "---\ntitle: x\n---\n" }, "train.csv", {}],
    ["a README that is broken", { "README.md": "---\na: [\n---\n" }, "train.csv", {}],
  ])("are those of %s", async (_, files, data, names) => {
    const folder = withFiles({ ...files, [data]: "text,label\na,1\n" });
    expect(await classesOf(join(folder, data))).toEqual(names);
  });

  it("are those of the configuration that a folder is called like, and none where configurations differ", async () => {
    const one = (name: string, first: string): string =>
      `- config_name: ${name}\n  features:\n  - name: label\n    dtype: {class_label: {names: {'0': ${first}, '1': z}}}`;
    const readme = front(`${one("en", "a")}\n${one("de", "b")}`);
    const folder = withFiles({ "README.md": readme, "de/train.csv": "label\n0\n", "train.csv": "label\n0\n" });
    expect(await classesOf(join(folder, "de/train.csv"))).toEqual({ label: ["b", "z"] });
    expect(await classesOf(join(folder, "train.csv"))).toEqual({});
  });

  it("stand in a Parquet file itself, and for the numbers in its rows", async () => {
    const file = join(emptyFolder(), "a.parquet");
    const features = { label: { names: ["neg", "pos"], _type: "ClassLabel" } };
    writeFileSync(file, parquet("label", ["1", "0", "pos"], JSON.stringify({ info: { features } })));
    expect(await classesOf(file)).toEqual({ label: ["neg", "pos"] });
    const rows = await firstRows(file, { layouts: [["label"]] }, Infinity);
    expect(rows.map(({ label }) => label)).toEqual(["pos", "neg", "pos"]);
  });

  it("are no label where the number is -1", async () => {
    const folder = withFiles({ "README.md": front(FEATURES), "a.csv": "text,label\na,1\nb,-1\n" });
    const read = firstRows(join(folder, "a.csv"), { layouts: layoutsOf["sequence-classification"] }, Infinity);
    await expect(read).rejects.toThrow(/a\.csv:3: column "label" is -1: the row has no label/);
  });

  it("give the order of classes, those that no row has among them", () => {
    const names = ["small", "large", "huge"];
    expect(findLabels(emptyFolder(), { labels: new Set(["large"]), names, several: false })).toEqual(names);
    expect(findLabels(emptyFolder(), { labels: new Set(["b", "a"]), names, several: false })).toEqual(["a", "b"]);
  });
});
