import { describe, expect, it } from "vitest";
import { hubName, showName } from "./name.ts";

describe("a name on the Hub", () => {
  it.each([
    ["org/name", { name: "org/name", revision: "main", path: "" }],
    ["org/name@v1.0", { name: "org/name", revision: "v1.0", path: "" }],
    ["org/na-me.v2/sst2", { name: "org/na-me.v2", revision: "main", path: "sst2" }],
    ["org/name@abc/data/train.csv", { name: "org/name", revision: "abc", path: "data/train.csv" }],
    ["org/name/sst2/", { name: "org/name", revision: "main", path: "sst2" }],
  ])("may be %s", (text, name) => {
    expect(hubName(text)).toEqual(name);
  });

  it.each(["name", "./org/name", "../org/name", "/org/name", "~/name", "org/", "C:\\a", "org /name", ""])(
    "is not %j",
    (text) => {
      expect(hubName(text)).toBeUndefined();
    },
  );

  it("is shown without the revision that everybody means", () => {
    expect(showName({ name: "org/name", revision: "main", path: "" })).toBe("org/name");
    expect(showName({ name: "org/name", revision: "v1", path: "x" })).toBe("org/name@v1");
  });
});
