import { join } from "node:path";
import { build, type Rolldown } from "vite";
import { describe, expect, it } from "vitest";

/** Bundles a file for browsers and returns every chunk, with whatever the bundler complained about. */
async function bundle(
  entry: string,
): Promise<{ readonly chunks: readonly Rolldown.OutputChunk[]; readonly complaints: readonly string[] }> {
  const complaints: string[] = [];
  const built = await build({
    configFile: false,
    logLevel: "silent",
    root: join(import.meta.dirname, ".."),
    resolve: { conditions: ["@graftml/source", "browser", "module"] },
    build: {
      write: false,
      minify: false,
      target: "es2023",
      lib: { entry: join(import.meta.dirname, entry), formats: ["es"], fileName: "bundle" },
      rolldownOptions: { onLog: (_, { message }) => void complaints.push(message) },
    },
  });
  const outputs = (Array.isArray(built) ? built : [built]) as readonly Rolldown.RolldownOutput[]; // not watching, so no watcher
  return { chunks: outputs.flatMap((o) => o.output).filter((o) => o.type === "chunk"), complaints };
}

describe("a bundle for browsers", () => {
  it.each(["../src/index.ts", "browser/step.ts"])(
    "of %s imports nothing of Node and nothing that a browser must resolve",
    async (entry) => {
      const { chunks, complaints } = await bundle(entry);
      const inside = new Set(chunks.map((c) => c.fileName));
      const outside = chunks.flatMap((c) => [...c.imports, ...c.dynamicImports]).filter((name) => !inside.has(name));
      expect(outside).toEqual([]);
      expect(complaints).toEqual([]);
      for (const { code } of chunks) expect(code).not.toMatch(/["'`]node:/);
    },
  );
});
