/** @file Text that decodes numbers stored as codes: a table's lookup, and the scale of a block. */
import { type DequantizeAttrs, type Encoding, INTEGER_UNIT } from "../encoding.ts";
import { type Operand } from "./kernel.ts";
import { repeat, vectorOf, type Width } from "./matmul-parts.ts";
import { type Binding, wgsl } from "./wgsl.ts";

/** How a kernel's threads share the table of codes: in registers of so many lanes, in workgroup memory, or not at all. */
export type Sharing = { readonly lanes: number } | "workgroup" | "none";

/** What the integer 1 stands for, in WGSL. */
const UNIT = `${INTEGER_UNIT}f`;
/** Numbers of a table of codes. */
const TABLE = 16;

/** The arrays that hold the codes of operand `name`, given its inputs in order. */
export function codeBindings(name: string, { encoding }: DequantizeAttrs, operands: readonly Operand[]): Binding[] {
  const { table, nested } = encoding;
  const types: readonly (readonly [string, string])[] = [
    [name, "u32"],
    [`${name}Scales`, nested === null ? "f32" : "u32"],
    ...(nested === null ? [] : ([[`${name}Nested`, "f32"]] as const)),
    ...(table === null && nested === null ? [] : ([[`${name}Table`, "f32"]] as const)),
  ];
  return types.flatMap(([array, type], i) => {
    const operand = operands[i];
    return operand === undefined ? [] : [{ name: array, type, operand }];
  });
}

/** Text for the codes of one operand. */
export interface CodesText {
  /** Declarations in front of the entry point. */
  readonly declarations: string;
  /** Statements at its start. */
  readonly prepare: string;
  /** WGSL expression of the values at `width * index`, which have this scale. */
  load(index: string, width: Width, scale: string): string;
  /** WGSL expression of the scale of the value at place `flat` of the matrix, in row `row`. */
  scale(flat: string, row: string): string;
}

/** The text that decodes operand `name`; `sizes.scale0` is the number of the scale of the first codes that are bound. */
export function codesText(name: string, encoding: Encoding, sharing: Sharing): CodesText {
  const { table, nested, block } = encoding;
  const lookup = table === null ? { declarations: "", prepare: "" } : lookupText(name, sharing);
  const scale =
    nested === null
      ? `return ${name}Scales[number];`
      : wgsl`
          let code = extractBits(${name}Scales[number / 4u], number % 4u * 8u, 8u);
          let own = ${name}Table[${table === null ? 0 : TABLE}u + code] * ${name}Nested[1u + number / ${nested.block}u];
          return own + ${name}Nested[0];`;
  return {
    declarations: wgsl`
      ${lookup.declarations}
      ${loads(name, encoding)}
      fn ${name}ScaleOf(block: u32) -> f32 {
        let number = sizes.scale0 + block;
        ${scale}
      }`,
    prepare: lookup.prepare,
    load: (index, width, scale) => `${name}Load${width}(${index}) * ${scale}${table === null ? ` * ${UNIT}` : ""}`,
    scale: (flat, row) => `${name}ScaleOf(${block === null ? row : `(${flat}) / ${block}u`})`,
  };
}

/** Functions that load one, two and four values. In a byte, the first of two codes has the high half. */
function loads(name: string, { table }: Encoding): string {
  const perWord = table === null ? 4 : 8;
  const bits = 32 / perWord;
  const value = (i: number): string =>
    table === null ? `f32(extractBits(i32(bits), ${8 * i}u, 8u))` : `${name}Number((bits >> ${4 * (i ^ 1)}u) & 15u)`;
  const one = table === null ? value(0) : `${name}Number(bits & 15u)`;
  const shift = (width: Width): string => {
    const vectors = perWord / width;
    if (vectors === 1) return `${name}[i]`;
    const within = width === 1 && table !== null ? `((i % ${vectors}u) ^ 1u)` : `(i % ${vectors}u)`;
    return `${name}[i / ${vectors}u] >> (${within} * ${bits * width}u)`;
  };
  const load = (width: Width): string => wgsl`
    fn ${name}Load${width}(i: u32) -> ${width === 1 ? "f32" : `vec${width}f`} {
      let bits = ${shift(width)};
      return ${width === 1 ? one : vectorOf(Array.from({ length: width }, (_, i) => value(i)))};
    }`;
  return [load(1), load(2), load(4)].join("");
}

/** The number that a code of four bits stands for, from wherever threads keep the table. */
function lookupText(name: string, sharing: Sharing): { readonly declarations: string; readonly prepare: string } {
  const number = (body: string): string => wgsl`
    fn ${name}Number(code: u32) -> f32 {
      ${body}
    }`;
  if (sharing === "none") return { declarations: number(`return ${name}Table[code];`), prepare: "" };
  if (sharing === "workgroup")
    return {
      declarations: `var<workgroup> ${name}Shared: array<f32, ${TABLE}>;\n${number(`return ${name}Shared[code];`)}`,
      prepare: wgsl`
        if (thread < ${TABLE}u) { ${name}Shared[thread] = ${name}Table[thread]; }
        workgroupBarrier();`,
    };
  // A shuffle costs next to nothing where a load is carried out lane by lane, so the table lies in registers, `lanes` numbers each.
  const { lanes } = sharing;
  const registers = Math.ceil(TABLE / lanes);
  const found = (i: number): string => `subgroupShuffle(${name}Table${i}, code % ${lanes}u)`;
  const chosen = Array.from({ length: registers }, (_, i) => found(i)).reduce(
    (low, high, i) => `select(${low}, ${high}, code >= ${i * lanes}u)`,
  );
  return {
    declarations: `${repeat(registers, (i) => `var<private> ${name}Table${i}: f32;`)}\n${number(`return ${chosen};`)}`,
    prepare: repeat(registers, (i) => `${name}Table${i} = ${name}Table[${i * lanes}u + lane % ${TABLE}u];`),
  };
}
