/** @file What every kernel's text shares: bindings and sizes declared from one list, and indices of threads. */
import { bytesPerElement } from "../dtype.ts";
import { DeviceError } from "../errors.ts";
import { type Aval, show, sizeOf } from "../shape.ts";
import { type Dispatch, f32, type Operand } from "./kernel.ts";
import type { Target } from "./target.ts";

/**
 * Tagged template for shader text: takes away the common indentation, and indents a value of several lines to its place.
 */
export function wgsl(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  const text = parts.reduce((out, part, i) => {
    const before = out.slice(out.lastIndexOf("\n") + 1);
    const margin = before.trim() === "" ? before : "";
    return out + String(values[i - 1] ?? "").replaceAll("\n", `\n${margin}`) + part;
  });
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const margin = Math.min(...lines.map((line) => line.length - line.trimStart().length));
  return `${lines.map((line) => line.slice(margin)).join("\n")}\n`;
}

/** A storage buffer of the shader: `name` is an array of `type`. */
export interface Binding {
  readonly name: string;
  readonly type: string;
  readonly operand: Operand;
}

/** A field of the uniform: a u32, or a float given as `float(x)`. */
export type Size = number | { readonly f32: number };
export const float = (x: number): Size => ({ f32: x });

/** A dispatch as it is easiest to write: bindings and sizes by name, each in one place. */
export interface Shader {
  readonly label: string;
  readonly bindings: readonly Binding[];
  /** Fields of `sizes` in the text, by name. */
  readonly sizes: Readonly<Record<string, Size>>;
  readonly workgroups: readonly [number, number, number];
  readonly code: string;
  readonly cost?: { readonly flops: number; readonly bytes: number };
}

/** Declares bindings and sizes in front of the code, in the order in which the runtime binds them. */
export function dispatch({ label, bindings, sizes, workgroups, code, cost }: Shader): Dispatch {
  const fields = Object.entries(sizes);
  const declarations = [
    ...(code.includes("subgroup") ? ["enable subgroups;"] : []),
    ...bindings.map(
      ({ name, type, operand }, i) =>
        `@group(0) @binding(${i}) var<storage, ${operand.access === "read" ? "read" : "read_write"}> ${name}: array<${type}>;`,
    ),
    ...(fields.length === 0
      ? []
      : [
          `struct Sizes { ${fields.map(([name, value]) => `${name}: ${typeof value === "number" ? "u32" : "f32"}`).join(", ")} }`,
          `@group(0) @binding(${bindings.length}) var<uniform> sizes: Sizes;`,
        ]),
  ];
  return {
    kernel: { label, code: `${declarations.join("\n")}\n${code}` },
    operands: bindings.map((b) => b.operand),
    sizes: fields.map(([, value]) => (typeof value === "number" ? value : f32(value.f32))),
    workgroups,
    ...(cost && { cost }),
  };
}

/** Bytes of a tensor, in whole 32-bit words. */
export const bytesOf = ({ shape, dtype }: Aval): number => Math.ceil((sizeOf(shape) * bytesPerElement[dtype]) / 4) * 4;

/** @throws {DeviceError} if one of the operands of `op` is larger than a binding may be. */
export function checkBindings(op: string, operands: readonly Aval[], { maxBinding }: Target): void {
  for (const t of operands)
    if (bytesOf(t) > maxBinding)
      throw new DeviceError(
        `${op}: ${t.dtype} ${show(t.shape)} is ${bytesOf(t)} bytes; this adapter binds at most ${maxBinding}. Split the tensor.`,
      );
}

/** Parameters of `main` that `GROUP` and row kernels refer to. */
export const MAIN = `@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u`;

/** Number of this workgroup in a grid from `grid()`. */
export const GROUP = `(group.x + group.y * groups.x)`;

/** Threads of a workgroup that goes through items in strides. */
const STRIDE = 256;
/** Workgroups that keep a software adapter busy; a GPU gets one for every 256 items. */
const LANES_GROUPS = 32;

/** Workgroups for a loop of `eachItem` over `count` items. */
export const itemGroups = (count: number, { family, maxWorkgroups }: Target): readonly [number, number, number] => [
  Math.min(Math.max(1, Math.ceil(count / STRIDE)), family === "lanes" ? LANES_GROUPS : maxWorkgroups),
  1,
  1,
];

/** The entry point of a kernel that does `statements` for every `item` from `first` to `end`; `before` stands outside. */
export const eachItem = (
  statements: string,
  { item = "i", first = "0u", end = "sizes.count", before = "" } = {},
): string => wgsl`
  @compute @workgroup_size(${STRIDE})
  fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    ${before}
    for (var ${item} = ${first} + id.x; ${item} < ${end}; ${item} += groups.x * ${STRIDE}u) {
      ${statements}
    }
  }`;
