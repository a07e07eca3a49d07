import { DeviceError, hostRuntime, type Program, type Runtime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { adamw, adamw8bit, type Checkpoint, planRun, sgd } from "../src/index.ts";
import { outcome, total, unpaged } from "./paging.ts";

/** What lies on a device when a program runs there. */
interface Seen {
  /** Numbers of its batch; none for an update. */
  readonly tokens: number | undefined;
  /** Bytes that the optimizer's memory takes. */
  readonly optimizer: number;
}

/** The interpreter with a device's account of memory: programs share what they need for activations. */
function capped(cap: number) {
  const inner = hostRuntime();
  const live = new Set<Program>();
  const seen: Seen[] = [];
  let most = 0;
  const runtime: Runtime = {
    ...inner,
    compile: async (store, build) => {
      const { activations = 0, optimizer = 0 } = inner.plan(store, build);
      const shared = Math.max(activations, ...[...live].map(({ memory }) => memory["activations"]!));
      const there = inner.allocated();
      const bytes = total(there) + Math.max(0, optimizer - (there["optimizer"] ?? 0)) + shared;
      if (bytes > cap) throw new DeviceError("there is not enough memory.");
      most = Math.max(most, bytes);
      const program = await inner.compile(store, build);
      const counted: Program = {
        ...program,
        run: (inputs) => {
          seen.push({ tokens: inputs["ids"]?.length, optimizer: inner.allocated()["optimizer"] ?? 0 });
          return program.run(inputs);
        },
        dispose: () => void live.delete(counted),
      };
      live.add(counted);
      return counted;
    },
  };
  return { runtime, seen, most: () => most };
}

describe("a paged optimizer", () => {
  it.each([adamw(), adamw8bit(), sgd({ momentum: 0.9 })])(
    "makes room for a long batch among short ones and changes no bit: $name",
    async (optimizer) => {
      const want = await outcome({ ...unpaged(hostRuntime()), optimizer });
      const ample = capped(Infinity);
      expect(await outcome({ ...unpaged(ample.runtime), optimizer, pagedOptimizer: true })).toEqual(want);
      expect(ample.seen.every(({ optimizer: bytes }) => bytes > 0)).toBe(true);

      const cap = ample.most() - 1;
      await expect(outcome({ ...unpaged(capped(cap).runtime), optimizer })).rejects.toThrow(/not enough memory/);
      const { runtime, seen } = capped(cap);
      expect(await outcome({ ...unpaged(runtime), optimizer, pagedOptimizer: true })).toEqual(want);
      const batches = seen.filter(({ tokens }) => tokens !== undefined);
      const longest = Math.max(...batches.map(({ tokens }) => tokens!));
      const [long, short] = [true, false].map((is) => batches.filter(({ tokens }) => (tokens === longest) === is));
      expect(long!.length).toBeGreaterThan(1);
      expect(long!.every(({ optimizer: bytes }) => bytes === 0)).toBe(true);
      expect(short!.filter(({ optimizer: bytes }) => bytes > 0).length).toBeGreaterThan(short!.length / 2);
    },
  );

  it("comes to the device bucket by bucket where it does not fit at once", async () => {
    const small = (): Runtime => hostRuntime({ maxBinding: 4096 });
    const want = await outcome(unpaged(small()));
    const inner = small();
    const optimizerBytes = (): number => inner.allocated()["optimizer"] ?? 0;
    const buckets = unpaged(inner).trainable;
    expect(buckets.length).toBeGreaterThan(1);
    const room = 8 * 2.1 * Math.max(...buckets.map(({ size }) => size)); // two moments, and the rates
    let most = 0;
    const runtime: Runtime = {
      ...inner,
      compile: async (store, build) => {
        if (optimizerBytes() + (inner.plan(store, build)["optimizer"] ?? 0) > room) throw new DeviceError("too much.");
        const program = await inner.compile(store, build);
        most = Math.max(most, optimizerBytes());
        return program;
      },
    };
    expect(await outcome({ ...unpaged(runtime), pagedOptimizer: true })).toEqual(want);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(room);
  });

  it("is read and restored while it is on the host", async () => {
    const kept: Checkpoint[] = [];
    const checkpoints = { save: async (checkpoint: Checkpoint) => `memory/${kept.push(checkpoint)}` };
    const want = await outcome({ ...unpaged(hostRuntime()), saveEvery: 3, checkpoints });
    for (const pagedOptimizer of [true, false]) {
      const resumed = await outcome({ ...unpaged(hostRuntime()), resume: kept[0], pagedOptimizer });
      expect(resumed).toEqual(want.slice(2 * 3));
    }
  });

  it("is planned as what the run cannot do without", () => {
    const run = unpaged(hostRuntime());
    const [beside, apart] = [planRun(run), planRun({ ...run, pagedOptimizer: true })];
    expect(apart["activations"]! * apart["optimizer"]!).toBe(0);
    expect(total(apart)).toBeLessThan(total(beside));
  });
});
