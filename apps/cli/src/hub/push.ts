/** @file An adapter to the Hub, with a card that says how it was made. */
import { existsSync, openAsBlob, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRepo, uploadFiles } from "@huggingface/hub";
import { parse } from "yaml";
import { HubError, UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import { names } from "../outputs.ts";
import type { Summary } from "../training.ts";
import { modelCard, type Resolved } from "./card.ts";
import type { Hub } from "./client.ts";
import { hubName, type HubName } from "./name.ts";
import { access } from "./snapshot.ts";

/** Files of an adapter that is ready to be pushed, by their names in the repository. */
export type Parcel = ReadonlyMap<string, Blob>;

const [CONFIG, WEIGHTS] = ["adapter_config.json", "adapter_model.safetensors"] as const;

/**
 * Packs an adapter with a card made from what its run left beside it.
 * @param base the base on the Hub, if the run did not name it so.
 * @throws {UsageError} if the folder is no adapter, or nobody could tell what it is an adapter of.
 */
export async function packAdapter(folder: string, repo: HubName, base: string | undefined): Promise<Parcel> {
  for (const name of [CONFIG, WEIGHTS])
    if (!existsSync(join(folder, name)))
      throw new UsageError(
        `${showFile(folder)} is no adapter: it has no ${name}. Name a folder such as runs/first/adapter.`,
      );
  const config = readJson(join(folder, CONFIG));
  const beside = dirname(folder);
  const ran = existsSync(join(beside, names.run)) && existsSync(join(beside, names.summary));
  // Files that a run of ours wrote.
  const run = ran ? (parse(readFileSync(join(beside, names.run), "utf8")) as Resolved) : undefined;
  const summary = ran ? (readJson(join(beside, names.summary)) as unknown as Summary) : undefined;
  const known = [base, run?.model, config["base_model_name_or_path"]].find(
    (name): name is string => typeof name === "string" && hubName(name)?.path === "" && !existsSync(join(beside, name)),
  );
  const card = modelCard({
    repo: repo.name,
    base: known,
    adapterConfig: config,
    run,
    summary,
  });
  // A path of this machine would lead others nowhere.
  const portable = { ...config, base_model_name_or_path: known ?? null };
  return new Map([
    ["README.md", new Blob([card])],
    [CONFIG, new Blob([`${JSON.stringify(portable, null, 2)}\n`])],
    [WEIGHTS, await openAsBlob(join(folder, WEIGHTS))],
  ]);
}

function readJson(file: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof value === "object" && value !== null) return value as Readonly<Record<string, unknown>>; // just checked
  } catch (cause) {
    throw new UsageError(`${showFile(file)} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}.`, {
      cause,
    });
  }
  throw new UsageError(`${showFile(file)} must hold a JSON object.`);
}

/** What the Hub answers to a repository that is there already. */
const THERE_ALREADY = 409;

/**
 * Uploads a parcel as one commit; the repository is made if there is none.
 * @returns the address of the repository, and the commit.
 * @throws {HubError} saying what is forbidden, or not reached.
 */
export async function pushParcel(
  hub: Hub & { readonly token: string },
  repo: HubName,
  parcel: Parcel,
  { isPrivate, message }: { readonly isPrivate: boolean; readonly message: string },
): Promise<{ readonly url: string; readonly commit: string }> {
  const shared = {
    ...access(hub, repo, "model"),
    accessToken: hub.token,
    repo: { type: "model" as const, name: repo.name },
  };
  await createRepo({ ...shared, visibility: isPrivate ? "private" : "public" }).catch((error: unknown) => {
    if (!HubError.is(error) || error.status !== THERE_ALREADY) throw error;
  });
  const files = [...parcel].map(([path, content]) => ({ path, content }));
  const output = await uploadFiles({ ...shared, files, commitTitle: message, branch: repo.revision });
  if (output === undefined) throw new HubError("the Hub made no commit.");
  return { url: `${hub.endpoint}/${repo.name}`, commit: output.commit.oid };
}
