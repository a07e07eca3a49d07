/** @file `graft push`: uploads an adapter to the Hub, with a model card. */
import { resolve } from "node:path";
import { UsageError } from "../errors.ts";
import { openHub } from "../hub/client.ts";
import { hubName, showName } from "../hub/name.ts";
import { packAdapter, pushParcel } from "../hub/push.ts";
import { finish, paint } from "../io.ts";
import { bytes } from "../render.ts";
import type { Command, Options } from "../verbs.ts";

export const push: Command = async (io, args, options) => {
  if (args.length > 0) throw new UsageError(`push takes no ${args.join(" ")}: name the adapter with --adapter.`);
  const folder = resolve(given(options, "adapter"));
  const name = given(options, "repo");
  const repo = hubName(name);
  if (repo === undefined || repo.path !== "")
    throw new UsageError(`--repo: wants a name such as org/name or org/name@branch; got ${JSON.stringify(name)}.`);
  const parcel = await packAdapter(folder, repo, optional(options, "base"));
  if (options["dryRun"] === true) {
    const card = (await parcel.get("README.md")?.text()) ?? "";
    finish(io, { repo: showName(repo), files: [...parcel.keys()], card }, card.trimEnd());
    return;
  }
  const hub = openHub();
  const { token } = hub;
  if (token === undefined)
    throw new UsageError(`pushing needs a token with write access in HF_TOKEN: see ${hub.endpoint}/settings/tokens.`);
  if (hub.offline) throw new UsageError("HF_HUB_OFFLINE forbids to push.");
  io.begun = true;
  const size = [...parcel.values()].reduce((sum, blob) => sum + blob.size, 0);
  io.err(`${paint("dim", "pushing")} ${parcel.size} files, ${bytes(size)}, to ${showName(repo)}\n`);
  const message = optional(options, "message") ?? "Upload an adapter trained with Graft";
  const { url, commit } = await pushParcel({ ...hub, token }, repo, parcel, {
    isPrivate: options["private"] === true,
    message,
  });
  finish(
    io,
    { url, commit, files: [...parcel.keys()] },
    `${paint("green", "✓", process.stdout)} ${url} (commit ${commit.slice(0, 7)})`,
  );
};

const optional = (options: Options, name: string): string | undefined => {
  const value = options[name];
  return typeof value === "string" && value !== "" ? value : undefined;
};

function given(options: Options, name: string): string {
  const value = optional(options, name);
  if (value === undefined)
    throw new UsageError(`--${name} is missing: graft push --adapter runs/first/adapter --repo org/name`);
  return value;
}
