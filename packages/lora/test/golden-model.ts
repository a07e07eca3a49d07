// The golden models: the kit's tiny ones in the sizes of scripts/golden/lora.py, with the weights it wrote.

import { join } from "node:path";
import { goldenBase, goldenSizes, tinyGpt2, tinyLlama } from "@graftml/conformance";
import {
  type Base,
  type Loaded,
  type Model,
  openSafetensors,
  openScope,
  predict,
  declareAdapter,
  declareBase,
} from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import {
  crossEntropy,
  grad,
  hostRuntime,
  mean,
  reshape,
  slice,
  type Source,
  type Trace,
  type Values,
} from "@graftml/tensor";

/** Where scripts/golden/lora.py wrote. */
export const golden = join(import.meta.dirname, "golden");
/** Rows that both sides see. */
const rows: readonly (readonly number[])[] = [
  [3, 17, 42, 5, 63, 1, 8],
  [60, 2, 2, 31, 7, 55, 40],
];

const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes: goldenSizes }),
  gpt2: tinyGpt2({ sizes: goldenSizes, dropout: 0 }),
};

/** A golden model with its weights. */
export async function goldenModel(name: string): Promise<{ readonly model: Model; readonly base: Base }> {
  const model = models[name]!;
  return { model, base: await goldenBase(model, join(golden, name, "model.safetensors")) };
}

/** What the scripts recorded for one model, by name. */
export async function expected(name: string): Promise<(key: string) => Promise<Source>> {
  const file = await openSafetensors(await fileSource(join(golden, name, "expected.safetensors")));
  return (key) => file.read(key);
}

/** Logits of a text: nothing of it is padding, and a decoder that has an encoder writes what that reads. */
export async function logitsOf(
  { model, base }: { readonly model: Model; readonly base: Base },
  ids: readonly number[],
  loaded?: Loaded,
): Promise<Values> {
  const store = hostRuntime().store();
  declareBase(store, base);
  if (loaded) declareAdapter(store, loaded.adapter, base, { seed: 0, state: loaded.state });
  const program = await hostRuntime().compile(store, (trace) => ({
    y: predict(model, openScope(trace, loaded?.adapter.layers ?? [], { train: false, model: model.info }), {
      batch: 1,
      length: ids.length,
    }),
  }));
  const written = [model.info.decoderStart ?? 0, ...ids.slice(0, -1)];
  return (await program.run({ ids, mask: ids.map(() => 1), types: ids.map(() => 0), decoder_ids: written }))["y"]!;
}

/** Logits of the rows, the loss of predicting each next token, and its gradients by names within the adapter. */
export async function compute(
  { model, base }: { readonly model: Model; readonly base: Base },
  loaded: Loaded | null,
  ids = rows,
): Promise<Readonly<Record<string, Values>>> {
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, base);
  if (loaded) declareAdapter(store, loaded.adapter, base, { seed: 0, state: loaded.state });
  const build = (trace: Trace) => {
    const scope = openScope(trace, loaded?.adapter.layers ?? [], { train: false, model: model.info });
    const [batch, length] = [ids.length, ids[0]!.length];
    const y = predict(model, scope, { batch, length });
    const predicting = reshape(slice(y, 1, 0, length - 1), [-1, model.info.vocabulary]);
    const loss = mean(crossEntropy(predicting, trace.input("labels", [batch * (length - 1)], "i32")));
    const owned = loaded?.adapter.owned.filter((o) => o.trainable) ?? [];
    const gradients = grad(
      loss,
      owned.map((o) => trace.param(o.name, o.shape)),
    );
    return { y, loss, ...Object.fromEntries(owned.map((o, i) => [o.name.slice("default/".length), gradients[i]!])) };
  };
  const program = await runtime.compile(store, build);
  return program.run({ ids: ids.flat(), labels: ids.flatMap((row) => row.slice(1)) });
}
