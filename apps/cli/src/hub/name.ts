/** @file Names on the Hub: `org/name[@revision]`, and for data sets a folder or file in them. */

/** What a repository holds. */
export type Kind = "model" | "dataset";

/** A repository on the Hub. */
export interface HubName {
  /** "org/name" */
  readonly name: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** A folder or file inside, without slashes around it; "" for all. */
  readonly path: string;
}

/**
 * What a text names on the Hub, or undefined if it cannot be a name there: `org/name`, `org/name@revision`, and behind either
 * a path (`org/name/folder`).
 */
export function hubName(text: string): HubName | undefined {
  const [, name, revision = "main", path = ""] =
    /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([^/\s]+))?(?:\/(.+?)\/?)?$/.exec(text) ?? [];
  return name === undefined ? undefined : { name, revision, path };
}

/** "org/name@revision", without the revision that everybody means. */
export const showName = ({ name, revision }: HubName): string => (revision === "main" ? name : `${name}@${revision}`);
