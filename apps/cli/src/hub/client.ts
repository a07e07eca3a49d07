/** @file How the Hub is spoken to: where it is, as whom, and what its refusals mean. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { getHFHubCachePath } from "@huggingface/hub";
import { HubError, HubUnreachable } from "../errors.ts";
import { showFile } from "../io.ts";
import { type HubName, type Kind, showName } from "./name.ts";

/** A Hub, as huggingface_hub's environment variables describe it. */
export interface Hub {
  /** HF_ENDPOINT: its address, without a slash at the end. */
  readonly endpoint: string;
  /** HF_TOKEN, or what `hf auth login` left. */
  readonly token: string | undefined;
  /** HF_HUB_OFFLINE: whether nothing but the cache may be used. */
  readonly offline: boolean;
  /** HF_HUB_CACHE: the folder of what was downloaded. */
  readonly cache: string;
}

/** The Hub of this process. @throws {HubError} if the token cannot be one. */
export function openHub(): Hub {
  const { HF_ENDPOINT: endpoint, HF_HUB_OFFLINE: offline = "" } = process.env;
  const token = process.env["HF_TOKEN"]?.trim() || savedToken();
  if (token !== undefined && !/^hf_\w+$/.test(token))
    throw new HubError('HF_TOKEN is no token of the Hub: those begin with "hf_".');
  return {
    endpoint: (endpoint || "https://huggingface.co").replace(/\/+$/, ""),
    token,
    offline: /^(1|true|yes|on)$/i.test(offline),
    cache: getHFHubCachePath(),
  };
}

function savedToken(): string | undefined {
  const { HF_TOKEN_PATH: path, HF_HOME: home, XDG_CACHE_HOME: caches } = process.env;
  const file = path ?? join(home ?? join(caches ?? join(homedir(), ".cache"), "huggingface"), "token");
  try {
    return readFileSync(file, "utf8").trim() || undefined;
  } catch {
    return undefined; // nobody has logged in
  }
}

/** The headers by which a request says who asks. */
export const identity = ({ token }: Hub): Readonly<Record<string, string>> =>
  token === undefined ? {} : { Authorization: `Bearer ${token}` };

/** Tries of one request that the Hub puts off, and the longest that is waited between two, in seconds. */
const [TRIES, LONGEST_WAIT] = [4, 60] as const;

/**
 * `fetch` for requests about one repository: waits where the Hub says so, and explains refusals.
 * @throws {HubError} for any answer but a good one; {HubUnreachable} if there is none.
 */
export function fetchFor(hub: Hub, repo: HubName, kind: Kind): typeof fetch {
  return async (input, init) => {
    for (let tries = 1; ; tries++) {
      const response = await fetch(input, init).catch((cause: unknown) => {
        throw new HubUnreachable(
          `${new URL(hub.endpoint).host} cannot be reached (${codeOf(cause)}) to look for it there.`,
          { cause },
        );
      });
      if (response.ok) return response;
      const after = Number(response.headers.get("Retry-After") ?? NaN);
      const later = response.status === 429 || response.status === 503;
      await response.body?.cancel();
      if (!later || !(after <= LONGEST_WAIT) || tries === TRIES) throw refusal(hub, repo, kind, response);
      await wait(after * 1000);
    }
  };
}

/** The code of a system's error, which fetch wraps. */
export const codeOf = (error: unknown): string => {
  const { code, cause, message } = error as { code?: unknown; cause?: unknown; message?: unknown }; // all are checked
  if (typeof code === "string") return code;
  return cause instanceof Error ? codeOf(cause) : String(message);
};

/** "the model org/name" */
export const titled = (kind: Kind, repo: HubName): string =>
  `${kind === "dataset" ? "data set" : kind} ${showName(repo)}`;

function refusal(hub: Hub, repo: HubName, kind: Kind, response: Response): HubError {
  const { status } = response;
  return new HubError(refused(hub, repo, kind, response), { status });
}

/** A refusal in words. */
function refused({ endpoint, token }: Hub, repo: HubName, kind: Kind, { status, headers, url }: Response): string {
  const what = titled(kind, repo);
  const anyone = token === undefined;
  const reason = headers.get("X-Error-Code");
  if (status === 404 && reason === "RevisionNotFound")
    return `the ${titled(kind, { ...repo, revision: "main" })} has no revision "${repo.revision}".`;
  if (status === 404 && reason === "EntryNotFound")
    return `${showName(repo)} has no file ${decodeURIComponent(url.split("/").at(-1) ?? "")}.`;
  if (status === 401 || status === 404)
    return `the Hub has no ${what} ${anyone ? "that everybody may read: check the name; a private one needs a token in HF_TOKEN" : "that your token opens"} (${status}).`;
  if (status === 403) {
    const page = `${endpoint}/${kind === "dataset" ? "datasets/" : ""}${repo.name}`;
    return `the Hub does not give access to the ${what} (403). If ${page} asks for its terms to be accepted, do that there${anyone ? ", and set HF_TOKEN" : "; to push, the token must be allowed to write"}.`;
  }
  if (status === 429) {
    const after = headers.get("Retry-After");
    return `the Hub has had too many requests (429)${after === null ? "" : ` and asks to wait ${after} s`}. Try again then${anyone ? "; with a token in HF_TOKEN more are allowed" : ""}.`;
  }
  return `the Hub failed to answer for the ${what} (${status}). Try again later.`;
}

/** What is said where nothing may be fetched. */
export const notCached = ({ cache }: Hub, repo: HubName, kind: Kind): HubError =>
  new HubError(`the ${titled(kind, repo)} is not in ${showFile(cache)}, and HF_HUB_OFFLINE forbids to fetch it.`);
