import { describeMethod } from "@graftml/conformance";
import { pTuning, prompt } from "./index.ts";

const except = {
  identity: "the text attends to the prompt",
  merge: "rows before a text are no weights",
};

describeMethod(prompt, [{ tokens: 3 }, { tokens: 2, init: "vocab" }], {
  except,
  readme: new URL("../README.md", import.meta.url),
});
describeMethod(pTuning, [{ tokens: 4, hidden: 12 }], {
  except: { ...except, unfolded: "the MLP is folded away: what is read again is the plain prompt" },
  readme: new URL("../README.md", import.meta.url),
});
describeMethod(pTuning, [{ tokens: 2, encoder: false }], { except });
