// The workspace as the scripts see it: its publishable packages and their packed files.

import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./launch.cjs";

/** The part of a package.json that the scripts read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
}

/** A package of the workspace. */
export interface Package extends Manifest {
  /** Its folder. */
  readonly folder: string;
  /** Where `pack` puts its packed file. */
  readonly tarball: string;
}

const packed = join(root, "node_modules/.cache/graft/packed");

/** The packages under packages/ and apps/, in the order of their paths. */
export const packages: readonly Package[] = globSync("{packages,apps}/*/package.json", { cwd: root })
  .toSorted()
  .map((path) => {
    const manifest = JSON.parse(readFileSync(join(root, path), "utf8")) as Manifest; // pnpm has read it before
    const file = `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`;
    return { ...manifest, folder: join(root, path, ".."), tarball: join(packed, file) };
  });

/** The packages that are published. */
export const published = packages.filter((each) => each.private !== true);

/** Packs every published package as publishing would; they must be built. */
export function pack(): void {
  rmSync(packed, { recursive: true, force: true });
  mkdirSync(packed, { recursive: true });
  const pnpm = join(root, ".graft/node_modules/pnpm/bin/pnpm.mjs");
  for (const { folder } of published) {
    execFileSync(process.execPath, [pnpm, "pack", "--pack-destination", packed], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
}
