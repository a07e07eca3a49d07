/** @file Properties of files. */
import { adapt, decodeAdapter, encodeAdapter, type NamedValues } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { expect } from "vitest";
import { distance, type Property, type Subject } from "./property.ts";
import { logits, shaken, started } from "./rig.ts";

/** An adapter with values that are all its own, and its files. */
async function saved({ rig, adapter }: Subject) {
  const loaded = shaken(await started(rig, adapter));
  return { loaded, files: encodeAdapter(adapter, rig.model, loaded.state) };
}

/** Elements of all shapes. */
const total = (shapes: Iterable<{ readonly shape: readonly number[] }>): number =>
  Array.from(shapes, ({ shape }) => sizeOf(shape)).reduce((a, b) => a + b, 0);

/** What PEFT puts before names, and what it calls tasks. */
const PREFIX = "base_model.model.";
const taskTypes: Readonly<Record<string, string>> = {
  "causal-lm": "CAUSAL_LM",
  "sequence-classification": "SEQ_CLS",
  "seq2seq-lm": "SEQ_2_SEQ_LM",
};

/** What is saved, and what is read again. */
export const keeping: readonly Property[] = [
  {
    says: "comes back from its files: the same values, the same logits, the same files again",
    check: async (subject) => {
      const { rig, method } = subject;
      const { loaded, files } = await saved(subject);
      const read = decodeAdapter(files, rig.model, [method], { id: "other" });
      expect(read.state).toEqual(loaded.state);
      expect(await logits(rig, [read])).toEqual(await logits(rig, [loaded]));
      expect(encodeAdapter(read.adapter, rig.model, read.state)).toEqual(files);
    },
    unless: {
      declared: "unfolded",
      says: "comes back from its files in a plainer form: the same logits, the same files again",
      check: async (subject) => {
        const { rig, method, tolerance } = subject;
        const { loaded, files } = await saved(subject);
        const read = decodeAdapter(files, rig.model, [method], { id: "other" });
        expect(read.adapter.methods[0]?.config).not.toEqual(loaded.adapter.methods[0]?.config);
        expect(distance(await logits(rig, [loaded]), await logits(rig, [read]))).toBeLessThan(tolerance.logits);
        expect(encodeAdapter(read.adapter, rig.model, read.state).tensors).toEqual(files.tensors);
      },
    },
  },
  {
    says: "has its own values in its files and nothing else, under names without its id",
    check: async (subject) => {
      const { rig, adapted } = subject;
      const { files, loaded } = await saved(subject);
      const owned = loaded.adapter.owned.filter((o) => o.persist === true);
      expect(total(files.tensors.values())).toBe(total(owned));
      for (const id of ["default2", "foodefault_bar", "model", "weight"])
        expect(encodeAdapter(adapt(rig.model, [adapted], { id }), rig.model, loaded.state)).toEqual(files);
    },
    unless: {
      declared: "unfolded",
      says: "has the values of its plainer form in its files and nothing else",
      check: async (subject) => {
        const { files } = await saved(subject);
        const { adapter } = decodeAdapter(files, subject.rig.model, [subject.method]);
        const owned = adapter.owned.filter((o) => o.persist === true);
        expect(total(files.tensors.values())).toBe(total(owned));
      },
    },
  },
  {
    says: "keeps the names and shapes in its files",
    check: async (subject) => {
      const { files } = await saved(subject);
      expect([
        files.config["peft_type"],
        ...Array.from(files.tensors, ([name, { shape }]) => `${name} [${shape.join(", ")}]`),
      ]).toMatchSnapshot();
    },
  },
  {
    says: "has the files of Hugging Face PEFT",
    check: async (subject) => {
      const { files } = await saved(subject);
      const { interchange } = subject.method.method;
      const { prefix = PREFIX, modulesPrefix = PREFIX } = interchange ?? {};
      expect(interchange).toBeDefined();
      expect(files.config).toMatchObject({
        peft_type: interchange?.peftType,
        inference_mode: true,
        task_type: taskTypes[subject.rig.model.info.task],
      });
      for (const name of files.tensors.keys())
        expect(name.startsWith(prefix) || name.startsWith(modulesPrefix), name).toBe(true);
    },
    unless: {
      declared: "interchange",
      says: "has files of its own",
      check: async (subject) => {
        expect((await saved(subject)).files.config["peft_type"]).toBe(`GRAFT_${subject.adapted.name.toUpperCase()}`);
      },
    },
  },
  {
    says: "refuses files that lack a tensor, have one too many or one of another shape, and names it",
    check: async (subject) => {
      const { rig, method } = subject;
      const { files } = await saved(subject);
      const [[name, value] = ["", { shape: [], values: new Float32Array() }]] = files.tensors;
      const read = (tensors: NamedValues) => () => decodeAdapter({ ...files, tensors }, rig.model, [method]);
      const lacking = new Map(files.tensors);
      lacking.delete(name);
      expect(read(lacking)).toThrow(/missing/);
      expect(read(new Map([...files.tensors, ["one.too.many", value]]))).toThrow(/unexpected: one\.too\.many/);
      expect(read(new Map([...files.tensors, [name, { ...value, shape: [...value.shape, 1] }]]))).toThrow(
        /wrong shape/,
      );
    },
  },
];
