#!/usr/bin/env node
/** @file `npm create @graftml/method NAME`, and `pnpm create-method NAME` in a clone. */
import { relative } from "node:path";
import { create, CreateError } from "./create.ts";

const [name, ...rest] = process.argv.slice(2);
if (name === undefined || name.startsWith("-") || rest.length > 0) {
  console.error(
    "Usage: npm create @graftml/method NAME      a package of your own\n       pnpm create-method NAME              in a clone of Graft",
  );
  process.exitCode = name === "--help" ? 0 : 2;
} else {
  try {
    const made = create(name, process.cwd());
    const folder = relative(process.cwd(), made.folder);
    const test = made.inside ? `pnpm vitest run --project unit ${folder}` : "npm test";
    const install = made.inside ? "pnpm install" : `cd ${folder} && npm install`;
    console.log(
      `${made.name} lies in ${folder}. Next:\n\n  ${install}\n  ${test}        every property that a method must have\n\nThen write your own in ${folder}/src/${name}.ts, and use it as { name: ${made.inside ? name : `${folder}/src/index.ts`} } in a run file.`,
    );
  } catch (error) {
    if (!(error instanceof CreateError)) throw error;
    console.error(error.message);
    process.exitCode = 2;
  }
}
