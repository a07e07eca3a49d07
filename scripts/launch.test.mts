import { expect, it } from "vitest";
import { isSupported } from "./launch.cjs";

it.each([
  ["18.20.8", false],
  ["20.19.6", false],
  ["22.17.1", false],
  ["v22.18.0", true],
  ["23.11.0", false],
  ["24.0.0", true],
  ["26.1.0", true],
])("a start under Node %s stays with it: %s", (version, expected) => {
  expect(isSupported(version)).toBe(expected);
});
