// Checks the shape of each published package as npm users meet it: what its manifest promises lies in the packed file (publint),
// and its types resolve for every kind of consumer (attw). Packs the packages, which must be built.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./launch.cjs";
import { pack, published } from "./workspace.mts";

pack();
for (const { name, tarball, bin } of published) {
  // A package that is only a command has no types to resolve.
  const checks = [
    ["publint", "--strict", tarball],
    ...(bin === undefined ? [["attw", "--profile", "esm-only", tarball]] : []),
  ];
  for (const [tool = "", ...args] of checks) {
    const { status, stdout, stderr } = spawnSync(join(root, "node_modules/.bin", tool), args, { encoding: "utf8" });
    if (status === 0) continue;
    console.error(`${tool} finds fault with ${name}:\n${stdout}${stderr}`);
    process.exitCode = 1;
  }
}
