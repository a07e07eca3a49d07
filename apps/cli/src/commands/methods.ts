/** @file `graft methods`: what is installed, with every key of every method. */
import { nearest } from "@graftml/peft";
import { groups } from "../cost-lines.ts";
import { UsageError } from "../errors.ts";
import { keyTable } from "../help.ts";
import { finish, paint, showFile } from "../io.ts";
import { loadPackage, methodPackages } from "../resolve.ts";
import { type KeyDoc, keysOf } from "../schema.ts";
import type { Command } from "../verbs.ts";

interface Described {
  readonly name: string;
  readonly package: string;
  readonly version: string;
  readonly source: string;
  readonly keys: readonly KeyDoc[];
}

export const listMethods: Command = async (io, names) => {
  const found = await Promise.all(
    methodPackages().map(async (carrier) =>
      (await loadPackage(carrier)).map(({ method }) => ({
        name: method.name,
        group: method.group,
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
  const words = (Object.keys(groups) as readonly (keyof typeof groups)[]).flatMap((group) => {
    const members = shown.filter((m) => m.group === group);
    return members.length === 0 ? [] : [paint("dim", groups[group], process.stdout), ...members.map(inWords)];
  });
  finish(io, shown, words.join("\n\n"));
};

function inWords({ name, package: carrier, version, source, keys }: Described): string {
  const head = `${paint("bold", name, process.stdout)}  ${carrier} ${version}  ${paint("dim", source, process.stdout)}`;
  const table = keyTable(keys, process.stdout.columns || 120);
  return table === "" ? head : `${head}\n${table}`;
}
