import { describeMethod } from "@graftml/conformance";
import { prefix } from "./index.ts";

const except = {
  identity: "even a row of zeros takes its share of the softmax",
  merge: "rows before a text are no weights",
};

describeMethod(prefix, [{ tokens: 3 }], { lr: 0.2, except, readme: new URL("../README.md", import.meta.url) });
describeMethod(prefix, [{ tokens: 2, reparameterize: 5 }], {
  lr: 0.2,
  except: { ...except, unfolded: "the MLP is folded away: what is read again is the plain prefix" },
});
