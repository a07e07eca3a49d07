import { describe, expect, it } from "vitest";
import { tinyModel } from "../test/tiny-model.ts";
import { sites } from "./adapt.ts";
import type { Attachment } from "./method.ts";
import type { Site } from "./site.ts";
import { checkAdaptation, checkTarget, covers, nearest, type Target } from "./target.ts";

const model = tinyModel();
const { info } = model;
const linears = sites(model).filter((s) => s.kind === "linear");
const chosen = (target: Target) => linears.filter((s) => covers(target, s, info)).map((s) => s.path);
const [up0, down0, up1, down1, head] = [
  "model.layers.0.mlp.up_proj",
  "model.layers.0.mlp.down_proj",
  "model.layers.1.mlp.up_proj",
  "model.layers.1.mlp.down_proj",
  "lm_head",
];

describe("a target", () => {
  it.each<[string, Target, readonly string[]]>([
    ["names roles", ["mlp.up"], [up0, up1]],
    ["names ends of paths", ["up_proj", "1.mlp.down_proj"], [up0, up1, down1]],
    ["names whole paths", [up0], [up0]],
    ["does not name parts of a segment", ["proj", "p_proj"], []],
    ["names all linears but the head", "all-linear", [up0, down0, up1, down1]],
    ["names everything", "*", [up0, down0, up1, down1, head]],
    ["is a regular expression of the whole path", ".*\\.[1-9]\\.mlp\\.(up|down)_proj", [up1, down1]],
    ["is no expression of a part of it", "mlp\\.up_proj", []],
    ["decides by a function of the model too", (site, { layers }) => site.layer === layers - 1, [up1, down1]],
    ["decides by a function", (site) => site.out === 4, [down0, down1]],
  ])("%s", (_, target, paths) => {
    expect(chosen(target)).toEqual(paths);
  });

  const check = (target: Target) => () => checkTarget("lora", "linear", target, linears, info);

  it("that matches nothing is refused with the nearest name and all there are", () => {
    expect(check(["up_porj"])).toThrow(
      'lora: no linear site matches "up_porj". Did you mean "up_proj"? There are: down_proj, lm_head, mlp.down, mlp.up, unembed, up_proj.',
    );
  });

  it("is refused for one word that matches nothing, though others do", () => {
    expect(check(["up_proj", "query"])).toThrow('no linear site matches "query". There are:');
  });

  it("is refused if it is empty", () => {
    expect(check([])).toThrow("lora: its target is empty; name at least one place.");
  });

  it("may be a function or an expression, and is refused if it chooses nothing", () => {
    expect(check(() => false)).toThrow("lora: no linear site of this model is chosen.");
    expect(check("model\\.decoder\\..*")).toThrow('no linear site matches "model\\.decoder\\..*"');
    expect(check("(")).toThrow('target "(" is no role, no name and no regular expression.');
  });
});

describe("a method of which each attachment may find nothing", () => {
  const of =
    (at: (site: Site) => boolean, word = "mlp.up") =>
    () => {
      const mentions = [{ what: `biases "${word}"`, at: [word] }];
      const linear: Attachment<"linear"> = { at, optional: true, mentions, wrap: (x, next) => next(x) };
      const layer: Attachment<"layer"> = { at: () => false, optional: true, mentions, wrap: (x, next) => next(x) };
      checkAdaptation("some", { linear, layer }, linears, info);
    };

  it("is refused only where none of them finds anything", () => {
    expect(of(() => true)).not.toThrow();
    expect(of(() => false)).toThrow("some: ");
  });

  it("is refused for a word that none of them finds", () => {
    expect(of(() => true, "mlp.pu")).toThrow('some: biases "mlp.pu" matches none of the sites it can change: ');
  });
});

describe("the nearest word", () => {
  it("forgives a swap, a slip and a missing letter, and nothing far away", () => {
    const known = ["q_proj", "up_proj", "rank"];
    expect(["q_porj", "upproj", "rnak", "embedding"].map((word) => nearest(word, known))).toEqual([
      "q_proj",
      "up_proj",
      "rank",
      undefined,
    ]);
  });
});
