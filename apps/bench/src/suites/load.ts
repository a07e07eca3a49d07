/** @file Suite `load`: a checkpoint in half precision from a warm file cache to the device, beside a plain read and one copy. */
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildModel, loadModel } from "@graftml/models";
import { declareBase, sites, type TensorToWrite, writeSafetensors } from "@graftml/peft";
import { writeFolder } from "@graftml/peft/files";
import {
  add,
  cast,
  type DeviceRuntime,
  deviceRuntime,
  fill,
  gather,
  requestDevice,
  reshape,
  sizeOf,
  sum,
} from "@graftml/tensor";
import type { Report } from "../report.ts";

const MB = 1e6;
/** Bytes that the plain read takes at once. */
const PIECE = 2 ** 24;
const ROUNDS = 5;

/** A Llama of about so many bytes in f16; its token table is its largest tensor, as in small models of large vocabularies. */
const configOf = (bytes: number): Record<string, unknown> => {
  const hidden = 1024;
  const block = (4 * hidden * hidden + 3 * hidden * 2816) * 2;
  return {
    model_type: "llama",
    vocab_size: Math.max(64, Math.floor((0.3 * bytes) / (2 * hidden))),
    hidden_size: hidden,
    intermediate_size: 2816,
    num_hidden_layers: Math.max(1, Math.floor((0.7 * bytes) / block)),
    num_attention_heads: 16,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  };
};

async function writeModel(folder: string, bytes: number): Promise<number> {
  const config = configOf(bytes);
  let total = 0;
  const tensors = sites(buildModel(config)).flatMap(({ kind, path, shape }): TensorToWrite[] => {
    if (kind !== "param") return [];
    total += sizeOf(shape) * 2;
    return [{ name: path, dtype: "F16", shape, data: () => new Uint16Array(sizeOf(shape)).fill(0x3c00) }];
  });
  await writeFolder(folder, { "config.json": JSON.stringify(config), "model.safetensors": writeSafetensors(tensors) });
  return total;
}

/** Reads a file a piece at a time and copies every piece to one stretch of memory. */
async function plainRead(path: string): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const [piece, all] = [new Uint8Array(PIECE), new Uint8Array(size)];
    for (let at = 0; at < size;) {
      const { bytesRead } = await file.read(piece, 0, Math.min(PIECE, size - at), at);
      all.set(piece.subarray(0, bytesRead), at);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Opens the model and waits until every parameter is on the device; what it gives back frees them. */
async function load(runtime: DeviceRuntime, folder: string): Promise<() => void> {
  const store = runtime.store();
  const { base } = await loadModel(folder);
  declareBase(store, base);
  const names = [...base.names()];
  const program = await runtime.compile(store, (trace) => {
    const first = cast(fill(trace, [1], 0), "i32");
    const one = names.map((name) => {
      const { shape, dtype } = store.declaration(name);
      const table = trace.param(name, shape, dtype);
      return sum(gather(shape.length === 2 ? table : reshape(table, [1, sizeOf(shape)]), first));
    });
    return { sum: one.reduce(add) };
  });
  await program.run({});
  return () => {
    program.dispose();
    store.delete(...names);
  };
}

/** The most that heap and array buffers grow by while `body` runs, in bytes. */
async function growth(body: () => Promise<void>): Promise<number> {
  const used = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, used())), 1);
  await body();
  clearInterval(timer);
  return peak - before;
}

/** Throughput of both, best of a few rounds that take turns, and the host memory that loading takes. */
export async function loading({ megabytes }: { readonly megabytes: number }): Promise<Report> {
  const parent = await mkdtemp(join(tmpdir(), "graft-load-"));
  const folder = join(parent, "model");
  try {
    const bytes = await writeModel(folder, megabytes * MB);
    const runtime = deviceRuntime(await requestDevice());
    (await load(runtime, folder))(); // compiles the program and warms the file cache
    const times: Record<string, number[]> = { plain: [], graft: [] };
    let host = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const timed = async (name: string, body: () => Promise<void>): Promise<void> => {
        const from = performance.now();
        await body();
        times[name]?.push((performance.now() - from) / 1000);
      };
      await timed("plain", () => plainRead(join(folder, "model.safetensors")));
      let close = (): void => undefined;
      host = Math.max(host, await growth(() => timed("graft", async () => void (close = await load(runtime, folder)))));
      close();
    }
    const rows = Object.entries(times).map(([name, seconds]) => ({
      name: name === "plain" ? "plain read and one copy" : "to the device",
      figures: {
        MB: bytes / MB,
        "MB/s, best": bytes / MB / Math.min(...seconds),
        ...(name === "graft" && {
          "of plain": Math.min(...(times["plain"] ?? [])) / Math.min(...seconds),
          "host MB": host / MB,
        }),
      },
    }));
    runtime.dispose();
    return { suite: "load", rows };
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}
