/** @file `graft methods`: what is installed, with every key of every method. */
import { nearest } from "@graftml/peft";
import { UsageError } from "../errors.ts";
import { keyTable } from "../help.ts";
import { finish, paint, showFile } from "../io.ts";
import { loadPackage, methodPackages } from "../resolve.ts";
import { keysOf } from "../schema.ts";
import type { Command } from "../verbs.ts";

export const listMethods: Command = async (io, names) => {
  const found = await Promise.all(
    methodPackages().map(async (carrier) =>
      (await loadPackage(carrier)).map(({ method }) => ({
        name: method.name,
        package: carrier.name,
        version: carrier.version,
        folder: showFile(carrier.folder),
        source: method.source,
        keys: keysOf(method.config),
      })),
    ),
  );
  const all = found.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
  const known = all.map((m) => m.name);
  for (const name of names)
    if (!known.includes(name)) {
      const near = nearest(name, known);
      throw new UsageError(
        `no installed package has the method "${name}". ${near === undefined ? `Installed: ${known.join(", ")}.` : `Did you mean "${near}"?`}`,
      );
    }
  const shown = names.length === 0 ? all : all.filter((m) => names.includes(m.name));
  const words = shown.map((m) => {
    const head = `${paint("bold", m.name, process.stdout)}  ${m.package} ${m.version}  ${paint("dim", m.source, process.stdout)}`;
    const keys = keyTable(m.keys, process.stdout.columns || 120);
    return keys === "" ? head : `${head}\n${keys}`;
  });
  finish(io, shown, words.join("\n\n"));
};
