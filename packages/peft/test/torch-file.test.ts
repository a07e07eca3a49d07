import { readFileSync } from "node:fs";
import { join } from "node:path";
import { rngOf, StateError } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { widenHalf } from "../src/half.ts";
import type { ByteSource } from "../src/safetensors.ts";
import { openTorch } from "../src/torch-file.ts";

const bytesOf = (name: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(readFileSync(join(import.meta.dirname, "torch", name)));
const sourceOf = (name: string, bytes = bytesOf(name)): ByteSource => ({
  name,
  size: bytes.length,
  read: async (offset, length) => {
    if (offset + length > bytes.length) throw new StateError(`${name} ends at byte ${bytes.length}.`);
    return bytes.slice(offset, offset + length);
  },
});

const numbers = [0, 1, 2, 3, 4, 5];
const expected: Readonly<Record<string, readonly [shape: readonly number[], values: readonly number[]]>> = {
  plain: [[2, 3], numbers],
  turned: [
    [3, 2],
    [0, 3, 1, 4, 2, 5],
  ],
  part: [
    [2, 2],
    [1, 2, 4, 5],
  ],
  half: [[2, 3], numbers],
  brain: [[2, 3], numbers],
  double: [[2, 3], numbers],
  whole: [[2, 3], numbers],
  scalar: [[], [7]],
  nothing: [[0, 4], []],
  parameter: [[2, 3], numbers.map((x) => x + 0.5)],
};

describe.each(["archive.bin", "legacy.bin"])("tensors of %s", (name) => {
  it("are read with their shapes and values, whatever their type and order in memory", async () => {
    const file = await openTorch(sourceOf(name));
    expect([...file.tensors.keys()]).toEqual(Object.keys(expected));
    for (const [tensor, [shape, values]] of Object.entries(expected)) {
      const read = await file.read(tensor);
      expect(file.tensors.get(tensor)?.shape, tensor).toEqual(shape);
      expect([...(read instanceof Uint16Array ? widenHalf(read) : read)], tensor).toEqual(values);
    }
  });

  it("are refused, and nothing worse happens, whatever byte of the file is wrong", async () => {
    const good = bytesOf(name);
    const rng = rngOf(0, name);
    const at = (): number => Math.floor(rng.uniform() * good.length);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bad = round % 4 === 0 ? good.slice(0, at()) : good.slice();
      for (let i = 0; i < 3 && bad.length > 0; i++) bad[at() % bad.length] = Math.floor(rng.uniform() * 256);
      try {
        const file = await openTorch(sourceOf(name, bad));
        for (const tensor of file.tensors.keys()) await file.read(tensor);
      } catch (error) {
        refused++;
        expect(error, `round ${round}`).toBeInstanceOf(StateError);
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});

describe("a pickle that would do something", () => {
  it.each(["evil-archive.bin", "evil-legacy.bin"])("is refused by what it would call: %s", async (name) => {
    await expect(openTorch(sourceOf(name))).rejects.toThrow(
      `${name}: evil is what posix.system would make, which is not called`,
    );
  });

  it.each([
    ["evil.bin", "evil.bin is no file of torch"],
    ["list.bin", "list.bin holds a list; a dictionary of tensors is expected."],
    ["module.bin", "module.bin holds what torch.nn.modules.linear.Linear would make, which is not called"],
  ])("or holds no tensors is refused: %s", async (name, message) => {
    await expect(openTorch(sourceOf(name))).rejects.toThrow(message);
  });
});
