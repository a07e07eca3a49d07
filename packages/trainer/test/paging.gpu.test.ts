import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { describe, expect, it, vi } from "vitest";
import { type Checkpoint, planRun } from "../src/index.ts";
import { outcome, total, unpaged } from "./paging.ts";

describe("a paged optimizer on the device", () => {
  it("trains to the same bits under a cap that a long batch and the moments exceed together", async () => {
    const free = deviceRuntime(await requestDevice());
    const want = await outcome(unpaged(free));
    const memory = total(planRun(unpaged(free))) - 1;
    free.dispose();
    const runtime = deviceRuntime(await requestDevice({ memory }));
    await expect(outcome(unpaged(runtime))).rejects.toThrow(/needs .* of device memory/);
    const paged = { ...unpaged(runtime), pagedOptimizer: true };
    const park = vi.spyOn(paged.store, "park");
    const kept: Checkpoint[] = [];
    const checkpoints = { save: async (checkpoint: Checkpoint) => `memory/${kept.push(checkpoint)}` };
    expect(await outcome({ ...paged, saveEvery: 5, checkpoints })).toEqual(want);
    expect(park.mock.calls.flat()).not.toHaveLength(0);
    const resumed = await outcome({ ...unpaged(runtime), pagedOptimizer: true, resume: kept[0] });
    expect(resumed).toEqual(want.slice(2 * 5));
    runtime.dispose();
  });
});
