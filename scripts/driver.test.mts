import { describe, expect, it } from "vitest";
import { backportsOf } from "./driver.mjs";

describe("backportsOf", () => {
  const turn = (text: string): string | null => backportsOf(text, "bookworm", "bookworm-backports");

  it("turns the release's deb822 stanza and keeps its mirror, components and key", () => {
    const text = [
      "Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nComponents: main\n",
      "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /key.gpg",
    ].join("\n");
    expect(turn(text)).toBe(
      "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main contrib\nSigned-By: /key.gpg\n",
    );
  });

  it("turns the release's one-line entry and keeps its options", () => {
    const text =
      "# deb http://old.example/debian bookworm main\ndeb [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm main contrib\n";
    expect(turn(text)).toBe(
      "deb [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm-backports main contrib\n",
    );
  });

  it("finds nothing in the sources of another release or of packages only for building", () => {
    expect(
      turn("deb http://mirror.example/debian trixie main\ndeb-src http://mirror.example/debian bookworm main\n"),
    ).toBeNull();
    expect(turn("Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n")).toBeNull();
  });
});
