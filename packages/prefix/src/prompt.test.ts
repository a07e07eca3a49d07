import { describeMethod, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import { pTuning, prompt } from "./index.ts";

const except = {
  identity: "the text attends to the prompt",
  merge: "rows before a text are no weights",
};

const folded = { ...except, unfolded: "the MLP is folded away: what is read again is the plain prompt" };
const mix = "the head reads the first row, which a prompt moves";
const readme = new URL("../README.md", import.meta.url);
const models = [tinyLlama(), tinyGpt2(), tinyT5()];

describeMethod(prompt, [{ tokens: 3 }, { tokens: 4, init: "vocab" }], { models, lr: 0.05, except, readme });
describeMethod(prompt, [{ tokens: 3 }], { models: [tinyBert()], lr: 0.05, except: { ...except, mix } });
describeMethod(pTuning, [{ tokens: 4, hidden: 12 }], { models, lr: 0.05, except: folded, readme });
describeMethod(pTuning, [{ tokens: 4, hidden: 12 }], { models: [tinyBert()], lr: 0.05, except: { ...folded, mix } });
describeMethod(pTuning, [{ tokens: 4, encoder: false }], { models: [tinyGpt2()], lr: 0.05, except });
