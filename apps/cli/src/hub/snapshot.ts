/** @file A revision of a repository in the cache: those of its files that are wanted, and no others. */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { datasetInfo, getRepoFolderName, listFiles, modelInfo } from "@huggingface/hub";
import { HubError, HubUnreachable } from "../errors.ts";
import { fetchFor, type Hub, notCached, titled } from "./client.ts";
import { downloadFile, type RemoteFile } from "./download.ts";
import { type HubName, type Kind, showName } from "./name.ts";
import type { Report } from "./progress.ts";

/** Chooses among the paths of a repository. @throws {HubError} if what is needed is not there. */
export type Select = (paths: readonly string[]) => readonly string[];

/**
 * Brings the wanted files of a revision into the cache.
 * @returns the folder of the revision, and the files in it that were chosen.
 * @throws {HubError} saying what is missing, forbidden or damaged.
 */
export async function snapshot(
  hub: Hub,
  {
    repo,
    kind,
    select,
    report,
  }: { readonly repo: HubName; readonly kind: Kind; readonly select: Select; readonly report: Report },
): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const storage = join(hub.cache, getRepoFolderName({ type: kind, name: repo.name }));
  if (hub.offline) return cached(hub, repo, kind, storage, select);
  try {
    const commit = await commitOf(hub, repo, kind);
    const tree = await treeOf(hub, repo, kind, commit);
    const chosen = new Set(select([...tree.keys()]));
    const files = [...tree.values()].filter(({ path }) => chosen.has(path));
    if (commit !== repo.revision) await writeRef(join(storage, "refs", repo.revision), commit);
    const shown = report.begin({
      title: showName(repo),
      total: files.reduce((sum, { size }) => sum + size, 0),
      files: files.length,
    });
    try {
      for (const file of files) await downloadFile({ hub, repo, kind, storage, commit }, file, shown);
    } finally {
      shown.end();
    }
    const folder = join(storage, "snapshots", commit);
    return { folder, files: files.map(({ path }) => join(folder, path)) };
  } catch (error) {
    // Without a network what was fetched before will do.
    const commit = await commitIn(storage, repo);
    if (!HubUnreachable.is(error) || commit === undefined) throw error;
    report.note(
      `${new URL(hub.endpoint).host} cannot be reached: taking ${showName(repo)} from the cache (${commit.slice(0, 7)}).`,
    );
    return cached(hub, repo, kind, storage, select);
  }
}

async function commitOf(hub: Hub, repo: HubName, kind: Kind): Promise<string> {
  const { name, revision } = repo;
  const request = { ...access(hub, repo, kind), name, revision, additionalFields: ["sha" as const] };
  const { sha } = kind === "model" ? await modelInfo(request) : await datasetInfo(request);
  if (/^[0-9a-f]{40}$/.test(sha)) return sha;
  throw new HubError(`the Hub names no commit for the ${titled(kind, repo)}; got ${JSON.stringify(sha)}.`);
}

/** What the library's functions take of a Hub. */
export const access = (hub: Hub, repo: HubName, kind: Kind) => ({
  hubUrl: hub.endpoint,
  fetch: fetchFor(hub, repo, kind),
  ...(hub.token !== undefined && { accessToken: hub.token }),
});

async function treeOf(hub: Hub, repo: HubName, kind: Kind, commit: string): Promise<ReadonlyMap<string, RemoteFile>> {
  const listed = {
    ...access(hub, repo, kind),
    repo: { type: kind, name: repo.name },
    recursive: true,
    revision: commit,
  };
  const tree = new Map<string, RemoteFile>();
  for await (const { type, path, size, oid, lfs } of listFiles(listed)) {
    if (type !== "file") continue;
    const hash = lfs?.oid ?? oid ?? "";
    // Both become names of files here: neither may lead anywhere else.
    if (
      path.split("/").includes("..") ||
      path.startsWith("/") ||
      path.includes("\\") ||
      !/^[0-9a-f]{40,64}$/.test(hash)
    )
      throw new HubError(
        `the Hub lists a file of ${repo.name} that cannot be: ${JSON.stringify(path)}, hash "${hash}".`,
      );
    tree.set(path, { path, size: lfs?.size ?? size, hash, large: lfs !== undefined });
  }
  return tree;
}

async function writeRef(path: string, commit: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, commit);
}

/** The commit of a revision that is in the cache. */
async function commitIn(storage: string, { revision }: HubName): Promise<string | undefined> {
  const commit = await readFile(join(storage, "refs", revision), "utf8").catch(() => revision);
  return existsSync(join(storage, "snapshots", commit)) ? commit : undefined;
}

async function cached(hub: Hub, repo: HubName, kind: Kind, storage: string, select: Select) {
  const commit = await commitIn(storage, repo);
  if (commit === undefined) throw notCached(hub, repo, kind);
  const folder = join(storage, "snapshots", commit);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    );
  return { folder, files: select(paths).map((path) => join(folder, path)) };
}
