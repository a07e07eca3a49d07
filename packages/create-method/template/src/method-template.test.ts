import { describeMethod } from "@graftml/conformance";
import { methodTemplate } from "./index.ts";

describeMethod(methodTemplate, [{}, { target: "all-linear" }], {
  except: {
    seed: "its factors start at one",
    interchange: "PEFT has no such method",
  },
  readme: new URL("../README.md", import.meta.url),
});
