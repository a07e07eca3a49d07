import { describe, expect, it } from "vitest";
import { bytesOf, deviceOf } from "./device.ts";

describe("device memory", () => {
  it.each([
    [1024, 1024],
    ["2GB", 2e9],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["512kB", 512_000],
    ["7B", 7],
  ])("%s is %i bytes", (size, bytes) => {
    expect(bytesOf(size)).toBe(bytes);
  });
});

describe("--device", () => {
  it("is refused for an unknown name", () => {
    expect(() => deviceOf({ device: "cuda" })).toThrow('--device: wants webgpu or host; got "cuda".');
  });
});
