// Prints the size vector: per package its source lines (without tests, blank lines and comments), its public names, and its
// built JavaScript compressed. Growth should be explained by the change that causes it.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { packages } from "./workspace.mts";

const read = (path: string): string => readFileSync(path, "utf8");

function sourceLines(folder: string): number {
  const files = globSync("src/**/*.ts", { cwd: folder }).filter((file) => !file.endsWith(".test.ts"));
  const code = (line: string): boolean => !/^\s*($|\/\/|\/\*|\*)/.test(line);
  return files.reduce((sum, file) => sum + read(join(folder, file)).split("\n").filter(code).length, 0);
}

/** Public names of a module: those it declares, and those it passes on from others. */
function publicNames(path: string): Set<string> {
  const names = new Set<string>();
  const text = read(path);
  for (const [, name] of text.matchAll(
    /^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type|enum) (\w+)/gm,
  )) {
    if (name !== undefined) names.add(name);
  }
  if (/^export default /m.test(text)) names.add("default");
  for (const [, list = ""] of text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)) {
    for (const item of list.split(",")) {
      const name = item.trim().split(/\s+/).at(-1);
      if (name !== undefined && name !== "") names.add(name);
    }
  }
  for (const [, from = ""] of text.matchAll(/^export \* from "(\.[^"]*)"/gm)) {
    for (const name of publicNames(join(path, "..", from))) names.add(name);
  }
  return names;
}

function compressedBytes(folder: string): number {
  const files = globSync("dist/**/*.js", { cwd: folder }).toSorted();
  return gzipSync(files.map((file) => read(join(folder, file))).join("\n")).length;
}

const rows = packages.map(({ name, folder }) => {
  const [index] = globSync("src/index.ts", { cwd: folder });
  const names = index === undefined ? 0 : publicNames(join(folder, index)).size;
  return [name, sourceLines(folder), names, compressedBytes(folder)] as const;
});
console.log(`${"size".padEnd(24)}${"lines".padStart(8)}${"names".padStart(8)}${"gzip KB".padStart(10)}`);
for (const [name, lines, names, bytes] of rows) {
  console.log(
    `${name.padEnd(24)}${String(lines).padStart(8)}${String(names).padStart(8)}${(bytes / 1000).toFixed(1).padStart(10)}`,
  );
}
