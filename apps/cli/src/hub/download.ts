/** @file One file from the Hub into the cache that all of Hugging Face's libraries share. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, open, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { HubError, HubUnreachable } from "../errors.ts";
import { bytes } from "../render.ts";
import { codeOf, fetchFor, type Hub, identity } from "./client.ts";
import type { HubName, Kind } from "./name.ts";
import type { Shown } from "./progress.ts";

/** A file of a repository, as its tree lists it. */
export interface RemoteFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Hash of a Git blob (SHA-1), which names the file in the cache; of large files that of their content (SHA-256). */
  readonly hash: string;
  /** Whether it is a large file, kept outside Git. */
  readonly large: boolean;
}

/** Where a repository's files go. */
export interface Place {
  readonly hub: Hub;
  readonly repo: HubName;
  readonly kind: Kind;
  /** The repository's folder in the cache. */
  readonly storage: string;
  readonly commit: string;
}

/** Who is told how much of a file is there. */
type Arrivals = Pick<Shown, "had" | "add">;

/** Breaks in a row, without a byte between them, after which a transfer is given up. */
const PATIENCE = 3;

/**
 * Brings a file into the cache, unless it is there: content in `blobs`, named by its hash, and a link to it in `snapshots`.
 * What was fetched before an interruption is kept and not fetched again.
 * @param shown told of bytes as they arrive, and first of those that are there already.
 * @throws {HubError} if the file is not what the Hub said: too long, or of another hash.
 */
export async function downloadFile(place: Place, file: RemoteFile, shown: Arrivals): Promise<string> {
  const { storage, commit } = place;
  const blob = join(storage, "blobs", file.hash);
  const link = join(storage, "snapshots", commit, file.path);
  if ((await sizeOf(blob)) === undefined) {
    await mkdir(dirname(blob), { recursive: true });
    const incomplete = `${blob}.incomplete`;
    await transfer(place, file, incomplete, shown);
    const hash = await hashOf(incomplete, file);
    if (hash !== file.hash) {
      await rm(incomplete);
      throw new HubError(
        `${file.path} of ${place.repo.name} arrived damaged: its hash is ${hash}, the Hub says ${file.hash}. It is deleted; try again.`,
      );
    }
    await rename(incomplete, blob);
  } else shown.had(file.size);
  if ((await sizeOf(link)) === undefined) {
    await mkdir(dirname(link), { recursive: true });
    await rm(link, { force: true });
    // Windows lets only some users make links.
    await symlink(relative(dirname(link), blob), link).catch(() => copyFile(blob, link));
  }
  return link;
}

const sizeOf = async (path: string): Promise<number | undefined> => (await stat(path).catch(() => undefined))?.size;

async function transfer(place: Place, { path, size }: RemoteFile, incomplete: string, shown: Arrivals): Promise<void> {
  let done = (await sizeOf(incomplete)) ?? 0;
  shown.had(Math.min(done, size));
  for (let breaks = 0; done < size;) {
    const before = done;
    const broken = await receive(place, path, incomplete, done, (count) => {
      done += count;
      shown.add(count);
    });
    done = (await sizeOf(incomplete)) ?? 0;
    breaks = done > before ? 0 : breaks + 1;
    if (done < size && breaks === PATIENCE)
      throw new HubError(
        `the transfer of ${path} of ${place.repo.name} broke off at ${bytes(done)} of ${bytes(size)}${broken === undefined ? "" : ` (${broken})`}. Run the command again to go on from there.`,
      );
  }
  if (done === size) return;
  await rm(incomplete);
  throw new HubError(
    `${path} of ${place.repo.name} arrived with more than the ${bytes(size)} that the Hub says it has. It is deleted; try again.`,
  );
}

/** Appends what is missing of a file. @returns why it broke off, if it did. */
async function receive(
  { hub, repo, kind, commit }: Place,
  path: string,
  target: string,
  done: number,
  onBytes: (count: number) => void,
): Promise<string | undefined> {
  const folder = kind === "dataset" ? "datasets/" : "";
  const address = `${hub.endpoint}/${folder}${repo.name}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
  const range = done > 0 ? { Range: `bytes=${done}-` } : undefined;
  try {
    // Packed on the way, bytes could not be counted.
    const headers = { ...identity(hub), ...range, "Accept-Encoding": "identity" };
    const response = await fetchFor(hub, repo, kind)(address, { headers });
    // A server that knows no ranges sends the whole file again.
    const afresh = done > 0 && response.status !== 206;
    if (afresh) onBytes(-done);
    const file = await open(target, afresh || done === 0 ? "w" : "a");
    try {
      for await (const piece of response.body ?? []) {
        await file.write(piece);
        onBytes(piece.length);
      }
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    if (HubUnreachable.is(error)) return codeOf(error.cause);
    if (HubError.is(error)) throw error;
    const code = codeOf(error);
    if (code === "ENOSPC" || code === "EACCES") throw error;
    return code;
  }
}

/** The hash by which the Hub knows a file's content. */
async function hashOf(path: string, { size, large }: RemoteFile): Promise<string> {
  const hash = large ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array); // no encoding is set
  return hash.digest("hex");
}
