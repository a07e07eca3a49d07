/** @file A server on loopback that speaks as much of the Hub's HTTP interface as is used: revisions, trees, files by ranges, commits. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { onTestFinished, vi } from "vitest";
import { emptyFolder } from "./helpers.ts";

/** A repository: content by path. */
export type Files = Record<string, string | Uint8Array>;

/** Answers a request in its own way; returns false to leave it to the server. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface HubServer {
  readonly url: string;
  /** Repositories by kind and name: "models/org/name". */
  readonly repos: Record<string, Files>;
  /** Requests that were made: "GET /api/models/org/name/revision/main", and the range that was asked for. */
  readonly requests: readonly string[];
  /** Asked first. */
  fault: Fault;
  /** Repositories that only the token `hf_secret` opens. */
  readonly secret: Set<string>;
}

const sha1 = (content: string | Uint8Array): string => createHash("sha1").update(content).digest("hex");
const sha256 = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

/** Whether a file is kept outside Git. */
const isLarge = (path: string): boolean => /\.(safetensors|parquet|bin)$/.test(path);

/** The name of a file's content in the cache. */
export function hashOf(path: string, content: string | Uint8Array): string {
  const bytes = Buffer.from(content);
  return isLarge(path) ? sha256(bytes) : sha1(Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]));
}

/** The only commit of a repository. */
export const commitOf = (files: Files): string =>
  sha1(JSON.stringify(Object.entries(files).map(([path, content]) => [path, hashOf(path, content)])));

/** Starts a server that ends with the test. */
export async function hubServer(repos: Record<string, Files>): Promise<HubServer> {
  const requests: string[] = [];
  const uploads = new Map<string, Buffer>();
  const hub = { url: "", repos, requests, fault: (() => false) as Fault, secret: new Set<string>() };
  const server = createServer((request, response) => {
    const range = request.headers.range;
    const url = new URL(request.url ?? "/", hub.url);
    requests.push(`${request.method ?? ""} ${url.pathname}${range === undefined ? "" : ` ${range}`}`);
    if (hub.fault(request, response)) return;
    void answer(request, response, url);
  });

  const refuse = (response: ServerResponse, status: number, code = ""): void => {
    response.writeHead(status, { ...(code !== "" && { "X-Error-Code": code }) }).end();
  };
  const json = (response: ServerResponse, value: unknown): void => {
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(value));
  };

  async function answer(request: IncomingMessage, response: ServerResponse, { pathname }: URL): Promise<void> {
    if (request.method !== "GET") return write(request, response, pathname);
    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname);
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
    const key =
      api === null ? `${file?.[1] === undefined ? "models/" : "datasets/"}${file?.[2]}` : `${api[1]}/${api[2]}`;
    const files = repos[key];
    const allowed = !hub.secret.has(key) || request.headers.authorization === "Bearer hf_secret";
    if (files === undefined || !allowed) return refuse(response, 401, "RepoNotFound");
    const commit = commitOf(files);
    const revision = api?.[4] ?? file?.[3];
    if (![commit, "main"].includes(revision ?? "")) return refuse(response, 404, "RevisionNotFound");
    if (api?.[3] === "revision")
      return json(response, { _id: "1", id: api[2], sha: commit, private: false, lastModified: 0 });
    if (api !== null)
      return json(
        response,
        Object.entries(files).map(([path, content]) => entryOf(path, content)),
      );
    const path = decodeURIComponent(file?.[4] ?? "");
    const content = files[path];
    if (content === undefined) return refuse(response, 404, "EntryNotFound");
    send(request, response, Buffer.from(content), { ETag: `"${hashOf(path, content)}"`, "X-Repo-Commit": commit });
  }

  async function write(request: IncomingMessage, response: ServerResponse, pathname: string): Promise<void> {
    const body = await buffer(request);
    const given = (): Record<string, unknown> => JSON.parse(body.toString()) as Record<string, unknown>;
    if (pathname.startsWith("/upload/")) {
      uploads.set(pathname.slice("/upload/".length), body);
      return json(response, {});
    }
    if (request.headers.authorization !== "Bearer hf_secret") return refuse(response, 401);
    if (pathname === "/api/repos/create") {
      const { organization, name } = given() as { organization: string; name: string };
      const key = `models/${organization}/${name}`;
      if (key in repos) return refuse(response, 409);
      repos[key] = {};
      return json(response, { url: `${hub.url}/${organization}/${name}`, id: "1" });
    }
    const [, name = "", what] =
      /^\/(?:api\/models\/)?([^/]+\/[^/]+?)(?:\.git\/info)?\/(preupload|lfs|commit)\//.exec(pathname) ?? [];
    const files = repos[`models/${name}`];
    if (files === undefined) return refuse(response, 404, "RepoNotFound");
    if (what === "preupload") {
      const { files } = given() as { files: readonly { path: string }[] };
      return json(response, {
        files: files.map(({ path }) => ({ path, uploadMode: isLarge(path) ? "lfs" : "regular" })),
      });
    }
    if (what === "lfs") {
      const { objects } = given() as { objects: readonly { oid: string; size: number }[] };
      const actions = (oid: string) => ({ upload: { href: `${hub.url}/upload/${oid}` } });
      return json(response, { transfer: "basic", objects: objects.map((o) => ({ ...o, actions: actions(o.oid) })) });
    }
    for (const line of body.toString().split("\n")) {
      const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> };
      if (key === "file") files[value["path"] ?? ""] = Buffer.from(value["content"] ?? "", "base64");
      if (key === "lfsFile") files[value["path"] ?? ""] = uploads.get(value["oid"] ?? "") ?? "";
    }
    json(response, { commitOid: commitOf(files), commitUrl: `${hub.url}/${name}/commit/${commitOf(files)}` });
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  hub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return hub;
}

/** Makes a server the Hub of this test and the processes it starts, with an empty cache and nobody's token. */
export function useHub({ url }: HubServer): void {
  vi.stubEnv("HF_ENDPOINT", url);
  vi.stubEnv("HF_HOME", emptyFolder());
  for (const name of ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"])
    vi.stubEnv(name, undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
}

function entryOf(path: string, content: string | Uint8Array): unknown {
  const bytes = Buffer.from(content);
  const oid = sha1(Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]));
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 128 };
  return { type: "file", path, size: bytes.length, oid, ...(isLarge(path) && { lfs }) };
}

/** Sends a file, or the part of it that was asked for. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  headers: Readonly<Record<string, string>> = {},
): void {
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? "") ?? [];
  const start = Number(from ?? 0);
  const part = content.subarray(start);
  const range = { "Content-Range": `bytes ${start}-${content.length - 1}/${content.length}` };
  response.writeHead(from === undefined ? 200 : 206, {
    ...headers,
    "Content-Length": part.length,
    ...(from !== undefined && range),
  });
  response.end(part);
}
