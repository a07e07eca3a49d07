import { describeMethod } from "@graftml/conformance";
import { houlsby, parallel, pfeiffer } from "./index.ts";

const interchange = "PEFT has no bottleneck adapters; AdapterHub's files are read and written by the format beside it";
const merge = "what is not linear folds into no weights";
const identity = "small random maps are near the identity, not at it";

describeMethod(houlsby, [{ size: 3 }], {
  except: {
    identity,
    interchange,
    merge,
    mix: "trained norms are shared by the rows of a batch",
    stack: "the outer copy of a norm would take the place of the inner one",
  },
  readme: new URL("../README.md", import.meta.url),
});
describeMethod(houlsby, [{ size: 2, train_norms: false, leave_out: [1], scaling: "learned", dropout: 0.2 }], {
  except: { identity, interchange, merge },
});
// A rectifier of one unit may be dead from the start: smooth ones here, the default is in the golden tests.
describeMethod(
  pfeiffer,
  [{ activation: "gelu" }, { reduction: { 0: 4, default: 2 }, activation: "tanh", invertible: { reduction: 2 } }],
  { with: [parallel({ activation: "swish" })], except: { identity, interchange, merge } },
);
describeMethod(parallel, [{ activation: "gelu_new" }], {
  with: [pfeiffer({ size: 2, activation: "sigmoid" })],
  except: { interchange, merge },
});
