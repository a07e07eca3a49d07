/**
 * @file The benchmark runner.
 *
 *     pnpm bench [dispatch] [kernels] [step] [load] [peers] [encoder] [quant] [mixed] [shifts] [memory] [architectures] [quality] [qlora]
 *         [large] [cifar] [madx] [masked] [--no-peers] [--size MB] [--shared FOLDER] [--json FILE]
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { type Report, table } from "./report.ts";
import { planned } from "./suites/architectures.ts";
import { cifar } from "./suites/cifar.ts";
import { dispatch } from "./suites/dispatch.ts";
import { encoder } from "./suites/encoder.ts";
import { kernels } from "./suites/kernels.ts";
import { large } from "./suites/large.ts";
import { loading } from "./suites/load.ts";
import { madx } from "./suites/madx.ts";
import { masked } from "./suites/masked.ts";
import { memory } from "./suites/memory.ts";
import { mixed } from "./suites/mixed.ts";
import { qlora } from "./suites/qlora.ts";
import { quality } from "./suites/quality.ts";
import { quant } from "./suites/quant.ts";
import { shifted } from "./suites/shifts.ts";
import { peers, step } from "./suites/step.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "string" },
    peers: { type: "boolean", default: true },
    shared: { type: "string", default: "../shared" }, // where models and data lie
    size: { type: "string", default: "64" }, // of the file that `load` reads, in megabytes
  },
  allowNegative: true,
});
const suites: Readonly<Record<string, () => Promise<Report>>> = {
  dispatch,
  kernels: () => kernels({ peers: values.peers }),
  step,
  load: () => loading({ megabytes: Number(values.size) }),
  peers,
  encoder,
  quant,
  mixed,
  shifts: shifted,
  memory,
  architectures: planned,
  quality: () => quality({ folder: values.shared }),
  qlora: () => qlora({ folder: values.shared }),
  large,
  cifar: () => cifar({ folder: values.shared }),
  madx: () => madx({ folder: values.shared }),
  masked: () => masked({ folder: values.shared }),
};
/** Suites that need files or half an hour, and so run only when they are named. */
const named = ["quality", "qlora", "large", "cifar", "madx", "masked"];
const usual = Object.keys(suites).filter((s) => (values.peers || s !== "peers") && !named.includes(s));
const chosen = positionals.length > 0 ? positionals : usual;
const unknown = chosen.find((name) => !(name in suites));
if (unknown !== undefined) {
  console.error(`bench: no suite "${unknown}"; there are ${Object.keys(suites).join(", ")}.`);
  process.exit(2);
}

const runtime = deviceRuntime(await requestDevice());
const machine = { adapter: runtime.name, cpu: cpus()[0]?.model ?? "", cores: cpus().length, node: process.version };
runtime.dispose();
console.log(`${machine.adapter} · ${machine.cpu} · ${machine.cores} cores · Node ${machine.node}`);
const reports: Report[] = [];
for (const name of chosen) {
  const report = await suites[name]?.();
  if (report === undefined) continue;
  reports.push(report);
  console.log(`\n${table(report)}`);
}
if (values.json !== undefined)
  await writeFile(values.json, `${JSON.stringify({ machine, date: new Date().toISOString(), reports }, null, 2)}\n`);
process.exit(0);
