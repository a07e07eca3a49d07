import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyFolder } from "../../test/helpers.ts";
import { commitOf, type Files, hashOf, type HubServer, hubServer, send } from "../../test/hub-server.ts";
import { HubError } from "../errors.ts";
import type { Hub } from "./client.ts";
import type { HubName, Kind } from "./name.ts";
import { type Select, snapshot } from "./snapshot.ts";

const weights = Uint8Array.from({ length: 300_000 }, (_, i) => i * i);
const files: Files = {
  "config.json": '{"a":1}',
  "model.safetensors": weights,
  "sub/notes.txt": "ü",
  "other.bin": "no",
};
const repo: HubName = { name: "org/tiny", revision: "main", path: "" };
const blob = (hub: Hub, path: string): string =>
  join(hub.cache, "models--org--tiny/blobs", hashOf(path, files[path] ?? ""));

async function setUp(): Promise<{ readonly server: HubServer; readonly hub: Hub }> {
  const server = await hubServer({ "models/org/tiny": { ...files }, "datasets/org/tiny": { "a.csv": "text\n" } });
  return { server, hub: { endpoint: server.url, token: undefined, offline: false, cache: emptyFolder() } };
}

const fetchAll = (
  hub: Hub,
  {
    repo: of = repo,
    kind = "model",
    select = (paths) => paths.filter((path) => path !== "other.bin"),
    onBytes = () => undefined,
  }: {
    readonly repo?: HubName;
    readonly kind?: Kind;
    readonly select?: Select;
    readonly onBytes?: (count: number) => void;
  } = {},
) => {
  const seen: number[] = [];
  const notes: string[] = [];
  const add = (count: number): void => {
    seen.push(count);
    onBytes(count);
  };
  const shown = { had: (count: number) => void seen.push(count), add, end: () => undefined };
  return Object.assign(
    snapshot(hub, { repo: of, kind, select, report: { begin: () => shown, note: (text) => void notes.push(text) } }),
    { seen, notes },
  );
};

describe("a snapshot", () => {
  it("lies in the layout of Hugging Face's own libraries", async () => {
    const { hub } = await setUp();
    const { folder, files: paths } = await fetchAll(hub);
    const commit = commitOf(files);
    const storage = join(hub.cache, "models--org--tiny");
    expect(folder).toBe(join(storage, "snapshots", commit));
    expect(readFileSync(join(storage, "refs/main"), "utf8")).toBe(commit);
    expect(readlinkSync(join(folder, "sub/notes.txt"))).toBe(`../../../blobs/${hashOf("sub/notes.txt", "ü")}`);
    expect(paths.map((path) => path.slice(folder.length + 1))).toEqual([
      "config.json",
      "model.safetensors",
      "sub/notes.txt",
    ]);
    expect(new Uint8Array(readFileSync(join(folder, "model.safetensors")))).toEqual(weights);
  });

  it("holds what was chosen and nothing else", async () => {
    const { server, hub } = await setUp();
    const { folder } = await fetchAll(hub, { select: (paths) => paths.filter((path) => path === "config.json") });
    expect(readdirSync(folder)).toEqual(["config.json"]);
    expect(server.requests.filter((request) => request.includes("/resolve/"))).toHaveLength(1);
  });

  it("is fetched once", async () => {
    const { server, hub } = await setUp();
    await fetchAll(hub);
    const { length } = server.requests;
    await fetchAll(hub);
    expect(server.requests.slice(length).filter((request) => request.includes("/resolve/"))).toEqual([]);
  });

  it("may be of a data set, or of a revision", async () => {
    const { hub } = await setUp();
    await expect(fetchAll(hub, { kind: "dataset" })).resolves.toMatchObject({
      folder: expect.stringContaining("datasets--org--tiny") as string,
    });
    const commit = commitOf(files);
    await expect(fetchAll(hub, { repo: { ...repo, revision: commit } })).resolves.toMatchObject({
      folder: expect.stringContaining(commit) as string,
    });
    expect(existsSync(join(hub.cache, "models--org--tiny/refs"))).toBe(false);
  });

  it("is made without the network where it may not be used, or cannot be reached", async () => {
    const { server, hub } = await setUp();
    const { folder, files: paths } = await fetchAll(hub);
    const { length } = server.requests;
    await expect(fetchAll({ ...hub, offline: true })).resolves.toEqual({
      folder,
      files: expect.arrayContaining([...paths]) as string[],
    });
    expect(server.requests).toHaveLength(length);
    const download = fetchAll({ ...hub, endpoint: "http://127.0.0.1:9" });
    await expect(download).resolves.toMatchObject({ folder });
    expect(download.notes).toEqual([
      `127.0.0.1:9 cannot be reached: taking org/tiny from the cache (${commitOf(files).slice(0, 7)}).`,
    ]);
  });

  it("is refused where it is not in the cache and nothing else may be used", async () => {
    const { hub } = await setUp();
    await expect(fetchAll({ ...hub, offline: true })).rejects.toThrow(
      /^the model org\/tiny is not in .*HF_HUB_OFFLINE forbids to fetch it\.$/,
    );
    await expect(fetchAll({ ...hub, endpoint: "http://127.0.0.1:9" })).rejects.toThrow(
      /^127\.0\.0\.1:9 cannot be reached \(/,
    );
  });
});

describe("an interrupted transfer", () => {
  it("goes on where it broke off", async () => {
    const { server, hub } = await setUp();
    let hangUp: (() => void) | undefined;
    server.fault = (request, response) => {
      if (request.url?.endsWith("model.safetensors") !== true || request.headers.range !== undefined) return false;
      response.writeHead(200, { "Content-Length": weights.length }).write(weights.subarray(0, 100_000));
      hangUp = () => response.destroy();
      return true;
    };
    const { folder } = await fetchAll(hub, { onBytes: (count) => void (count > 100 && hangUp?.()) });
    const ranges = server.requests.flatMap((request) => /bytes=(\d+)-$/.exec(request)?.[1] ?? []);
    expect(ranges).toHaveLength(1);
    expect(Number(ranges[0])).toBeGreaterThan(0);
    expect(new Uint8Array(readFileSync(join(folder, "model.safetensors")))).toEqual(weights);
  });

  it("goes on in a later run", async () => {
    const { server, hub } = await setUp();
    const incomplete = `${blob(hub, "model.safetensors")}.incomplete`;
    mkdirSync(dirname(incomplete), { recursive: true });
    writeFileSync(incomplete, weights.subarray(0, 123_456));
    const download = fetchAll(hub);
    await download;
    expect(server.requests.some((request) => request.endsWith("model.safetensors bytes=123456-"))).toBe(true);
    expect(new Uint8Array(readFileSync(blob(hub, "model.safetensors")))).toEqual(weights);
    expect(download.seen.reduce((a, b) => a + b, 0)).toBe(7 + weights.length + 2);
  });

  it("starts over where the server knows no ranges", async () => {
    const { server, hub } = await setUp();
    const incomplete = `${blob(hub, "model.safetensors")}.incomplete`;
    mkdirSync(dirname(incomplete), { recursive: true });
    writeFileSync(incomplete, weights.subarray(0, 1000));
    server.fault = (request, response) => {
      if (request.headers.range === undefined) return false;
      response.writeHead(200).end(weights);
      return true;
    };
    const download = fetchAll(hub);
    await download;
    expect(new Uint8Array(readFileSync(blob(hub, "model.safetensors")))).toEqual(weights);
    expect(download.seen.reduce((a, b) => a + b, 0)).toBe(7 + weights.length + 2);
  });

  it("is given up when nothing more comes, and what there is is kept", async () => {
    const { server, hub } = await setUp();
    server.fault = (request, response) => {
      if (request.url?.endsWith("model.safetensors") !== true) return false;
      const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? "") ?? [];
      // A file that ends too early, however often it is asked for.
      response.writeHead(from === undefined ? 200 : 206).end(weights.subarray(Number(from ?? 0), 5000));
      return true;
    };
    await expect(fetchAll(hub)).rejects.toThrow(
      /^the transfer of model\.safetensors of org\/tiny broke off at 5\.0 kB of 300\.0 kB.* Run the command again to go on from there\.$/,
    );
    expect(readFileSync(`${blob(hub, "model.safetensors")}.incomplete`)).toHaveLength(5000);
  });
});

describe("a file that is not what the Hub said", () => {
  const answerWith = (server: HubServer, content: Buffer): void => {
    server.fault = (request, response) => {
      if (request.url?.endsWith("model.safetensors") !== true) return false;
      send(request, response, content);
      return true;
    };
  };

  it("is refused and deleted where it is too long", async () => {
    const { server, hub } = await setUp();
    answerWith(server, Buffer.concat([weights, weights]));
    await expect(fetchAll(hub)).rejects.toThrow(
      "model.safetensors of org/tiny arrived with more than the 300.0 kB that the Hub says it has. It is deleted; try again.",
    );
    expect(readdirSync(dirname(blob(hub, "x")))).toEqual([hashOf("config.json", files["config.json"] ?? "")]);
  });

  it("is refused and deleted where its hash is another", async () => {
    const { server, hub } = await setUp();
    answerWith(server, Buffer.from(weights.map((x) => x ^ 1)));
    await expect(fetchAll(hub)).rejects.toThrow(/^model\.safetensors of org\/tiny arrived damaged: its hash is/);
    expect(existsSync(`${blob(hub, "model.safetensors")}.incomplete`)).toBe(false);
  });

  it("is refused where its name would lead out of the cache", async () => {
    const { server, hub } = await setUp();
    server.repos["models/org/tiny"] = { "../../../evil.txt": "x" };
    await expect(fetchAll(hub)).rejects.toThrow(
      /^the Hub lists a file of org\/tiny that cannot be: "\.\.\/\.\.\/\.\.\/evil\.txt"/,
    );
  });
});

describe("a refusal", () => {
  const refusing =
    (status: number, headers: Readonly<Record<string, string>> = {}, times = Infinity): HubServer["fault"] =>
    (_, response) => {
      if (times-- <= 0) return false;
      response.writeHead(status, headers).end();
      return true;
    };

  it("says what to do about a repository that is not there or private", async () => {
    const { server, hub } = await setUp();
    await expect(fetchAll(hub, { repo: { ...repo, name: "org/nope" } })).rejects.toThrow(
      "the Hub has no model org/nope that everybody may read: check the name; a private one needs a token in HF_TOKEN (401).",
    );
    server.secret.add("models/org/tiny");
    await expect(fetchAll(hub)).rejects.toThrow(/HF_TOKEN \(401\)/);
    await expect(fetchAll({ ...hub, token: "hf_wrong" })).rejects.toThrow(
      "the Hub has no model org/tiny that your token opens (401).",
    );
    await expect(fetchAll({ ...hub, token: "hf_secret" })).resolves.toBeDefined();
  });

  it("names the revision that is not there", async () => {
    const { hub } = await setUp();
    await expect(fetchAll(hub, { repo: { ...repo, revision: "v9" } })).rejects.toThrow(
      'the model org/tiny has no revision "v9".',
    );
  });

  it("names the page where terms are accepted", async () => {
    const { server, hub } = await setUp();
    server.fault = refusing(403);
    await expect(fetchAll(hub)).rejects.toThrow(`If ${server.url}/org/tiny asks for its terms to be accepted`);
  });

  it("is waited out where the Hub says for how long", async () => {
    const { server, hub } = await setUp();
    server.fault = refusing(429, { "Retry-After": "0" }, 2);
    await expect(fetchAll(hub)).resolves.toBeDefined();
    expect(server.requests[2]).toBe(server.requests[0]);
  });

  it("says how long to wait where that is too long, or does not help", async () => {
    const { server, hub } = await setUp();
    server.fault = refusing(429, { "Retry-After": "300" });
    await expect(fetchAll(hub)).rejects.toThrow(
      "the Hub has had too many requests (429) and asks to wait 300 s. Try again then; with a token in HF_TOKEN more are allowed.",
    );
    expect(server.requests).toHaveLength(1);
    server.fault = refusing(429, { "Retry-After": "0" });
    await expect(fetchAll(hub)).rejects.toBeInstanceOf(HubError);
  });

  it("is told as a failure of the Hub where it is one", async () => {
    const { server, hub } = await setUp();
    server.fault = refusing(500);
    await expect(fetchAll(hub)).rejects.toThrow(
      "the Hub failed to answer for the model org/tiny (500). Try again later.",
    );
  });
});
