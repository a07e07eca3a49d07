/** @file `graft inspect`: what a model offers, what methods do with it, what that needs, and what rows look like. */
import type { Adapter, Site } from "@graftml/peft";
import { sites } from "@graftml/peft";
import { IGNORE, show } from "@graftml/tensor";
import { type Example, planRun } from "@graftml/trainer";
import { deviceOf, openRuntime } from "../device.ts";
import { NoDevice } from "../errors.ts";
import { openGiven, readGiven } from "../inputs.ts";
import { finish, paint, showFile, table } from "../io.ts";
import { readData, trainerRun } from "../plan.ts";
import { memory, percent, thousands, totalBytes } from "../render.ts";
import { parseRun } from "../run-file.ts";
import { countParameters, type Session } from "../session.ts";
import type { Command } from "../verbs.ts";

/** Rows whose tokens are shown. */
const SHOWN_ROWS = 2;

export const inspect: Command = async (io, args, options) => {
  const given = readGiven(args);
  const session = await openGiven(parseRun(given.source), given.source);
  const { run, loaded, stack } = session;
  const data = run.data.train === undefined ? { rows: [], heldOut: [] } : await readData(session);
  const counts = countParameters(session);
  const census = sitesOf(session);
  const plan = session.trained === undefined ? undefined : await plannedMemory(session, data, deviceOf(options));
  const parts = [
    table([
      ["model", `${showFile(run.model)} · ${loaded.model.info.architecture} · ${thousands(counts.total)} parameters`],
      [
        "layers",
        `${loaded.model.info.layers} of width ${loaded.model.info.hidden}, ${loaded.model.info.heads} heads, ${thousands(loaded.model.info.vocabulary)} tokens, ${thousands(loaded.model.info.maxLength)} positions`,
      ],
      ...stack.map(({ adapter }) => [
        "adapter",
        `${adapter.methods.map((m) => m.name).join(" + ")}${adapter.trainable ? "" : " (frozen)"}`,
      ]),
      ...(session.trained
        ? [["trains", `${thousands(counts.trainable)} (${percent(counts.trainable / counts.total)})`]]
        : []),
      ...(typeof plan === "string"
        ? [["memory", plan]]
        : plan
          ? [
              [
                "memory",
                `${memory(plan)} (${data.rows.length === 0 ? "rows of data.max_length tokens" : "the longest batch"})`,
              ],
            ]
          : []),
    ]),
    table([
      ["kind", "site", "roles", "shape", "methods"].map((head) => paint("dim", head, process.stdout)),
      ...census.map((row) => [
        row.kind,
        `${row.site}${row.count > 1 ? paint("dim", ` ×${row.count}`, process.stdout) : ""}`,
        row.roles.join(" "),
        row.shape,
        paint("green", row.methods.join(" + "), process.stdout),
      ]),
    ]),
    ...data.rows.slice(0, SHOWN_ROWS).map((row) => tokensOf(row, session)),
  ];
  finish(
    io,
    {
      model: run.model,
      architecture: loaded.model.info.architecture,
      ...counts,
      sites: census,
      ...(plan !== undefined && typeof plan !== "string" && { memory: { ...plan, total: totalBytes(plan) } }),
    },
    parts.join("\n\n"),
  );
};

interface SiteRow {
  readonly kind: string;
  /** Path with "*" for the number of a block. */
  readonly site: string;
  readonly roles: readonly string[];
  readonly shape: string;
  readonly count: number;
  readonly methods: readonly string[];
}

/** Sites of a model, alike ones of several blocks together, with the methods that attach there. */
function sitesOf({ loaded: { model }, stack }: Session): readonly SiteRow[] {
  const rows = new Map<string, SiteRow>();
  for (const site of sites(model)) {
    const methods = stack.flatMap(({ adapter }) => methodsAt(adapter, site));
    const pattern = site.path.replace(/(^|\.)\d+(?=\.|$)/, "$1*");
    const shape =
      site.shape.length > 0 ? show(site.shape) : site.in > 0 && site.out > 0 ? `${site.in} → ${site.out}` : "";
    const key = [site.kind, pattern, shape, ...methods].join(" ");
    rows.set(key, {
      kind: site.kind,
      site: pattern,
      roles: site.roles,
      shape,
      count: (rows.get(key)?.count ?? 0) + 1,
      methods,
    });
  }
  return [...rows.values()];
}

const methodsAt = (adapter: Adapter, { kind, path }: Site): readonly string[] =>
  adapter.sites.find(({ site }) => site.kind === kind && site.path === path)?.methods ?? [];

/** Bytes that training needs, or why that cannot be said. */
async function plannedMemory(
  session: Session,
  data: { readonly rows: readonly Example[]; readonly heldOut: readonly Example[] },
  device: "webgpu" | "host",
) {
  const { model } = session.loaded;
  const ids = new Array<number>(Math.min(session.run.data.max_length, model.info.maxLength)).fill(0);
  try {
    const opened = await openRuntime(device, session.run.train.device_memory);
    try {
      return planRun(
        trainerRun(session, opened, data.rows.length > 0 ? data : { rows: [{ ids, labels: ids }], heldOut: [] }),
      );
    } finally {
      opened.runtime.dispose();
    }
  } catch (error) {
    if (NoDevice.is(error)) return "unknown: there is no WebGPU adapter here (graft doctor says more)";
    throw error;
  }
}

/** A row's tokens, those that are learnt in colour. */
function tokensOf({ ids, labels, origin }: Example, { loaded: { tokenizer } }: Session): string {
  const piece = (id: number): string =>
    JSON.stringify(tokenizer?.decode([id], { special: true }) ?? String(id)).slice(1, -1) || "·";
  const shown = ids.map((id, i) =>
    labels[i] === IGNORE ? paint("dim", piece(id), process.stdout) : paint("cyan", piece(id), process.stdout),
  );
  const learnt = labels.filter((label) => label !== IGNORE).length;
  return `${origin ?? "row"}: ${ids.length} tokens, ${learnt} learnt (in colour)\n${shown.join(paint("dim", "|", process.stdout))}`;
}
