// Bundles packages/tensor for browsers and makes training steps in headless Chromium, beside the f64 interpreter on the same page.
// Chromium is Debian's; as root on Debian or Ubuntu it is installed if it is missing.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Rolldown } from "vite";
import { root } from "./launch.cjs";

/** Loss on the device against the interpreter, relative: f32 against f64 over a few steps. */
const TOLERANCE = 1e-5;
const STEPS = 3;
const PATIENCE_MS = 120_000;
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/google-chrome"];

function browser(): string {
  const found = (): string | undefined =>
    [process.env["CHROME_PATH"], ...BROWSERS].find((p) => p !== undefined && existsSync(p));
  if (found() === undefined && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
    console.log("No Chromium here: installing Debian's.");
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    spawnSync("apt-get", ["update", "-qq"], { env, stdio: "inherit" });
    spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "chromium"], { env, stdio: "inherit" });
  }
  const path = found();
  if (path === undefined) throw new Error("No Chromium: install the package chromium, or name one in CHROME_PATH.");
  return path;
}

const built = (await build({
  configFile: false,
  logLevel: "error",
  root: join(root, "packages/tensor"),
  resolve: { conditions: ["@graftml/source", "browser", "module"] },
  build: {
    write: false,
    target: "es2023",
    lib: { entry: join(root, "packages/tensor/test/browser/step.ts"), formats: ["es"], fileName: "step" },
  },
})) as readonly Rolldown.RolldownOutput[]; // a library in one format
const files = new Map<string, string>(
  built.flatMap((o) => o.output).flatMap((o) => (o.type === "chunk" ? [[`/${o.fileName}`, o.code] as const] : [])),
);
const entry = built.flatMap((o) => o.output).find((o) => o.type === "chunk" && o.isEntry)?.fileName ?? "";
const page = `<!doctype html><title>step</title><script type="module">
import { step } from "/${entry}";
const body = await step(${STEPS}).catch((error) => ({ failed: String(error?.stack ?? error) }));
await fetch("/report", { method: "POST", body: JSON.stringify(body) });
</script>`;

interface Report {
  readonly failed?: string;
  readonly adapter?: string;
  readonly device?: readonly number[];
  readonly error?: number;
}

const profile = mkdtempSync(join(tmpdir(), "graft-browser-"));
const path = browser();
const report = await new Promise<Report>((resolve, reject) => {
  const server = createServer((request, response) => {
    if (request.url === "/report") {
      let text = "";
      request.on("data", (part: Buffer) => (text += part.toString()));
      request.on("end", () => finish(() => resolve(JSON.parse(text) as Report))); // the page above posts it
      return;
    }
    const script = files.get(request.url ?? "");
    response.setHeader("content-type", script === undefined ? "text/html" : "text/javascript");
    response.end(script ?? page);
  });
  const flags = ["--headless", "--no-sandbox", "--no-first-run", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
    `--user-data-dir=${profile}`]; // prettier-ignore
  let child: ReturnType<typeof spawn> | undefined;
  const timer = setTimeout(
    () => finish(() => reject(new Error(`Chromium reported nothing in ${PATIENCE_MS / 1000} s.`))),
    PATIENCE_MS,
  );
  const finish = (settle: () => void): void => {
    clearTimeout(timer);
    child?.kill("SIGKILL");
    server.closeAllConnections();
    server.close(settle);
  };
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    child = spawn(path, [...flags, `http://127.0.0.1:${port}/`], { stdio: "ignore" });
    child.on("error", (error) => finish(() => reject(error)));
  });
});
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });

if (report.failed !== undefined || !((report.error ?? NaN) <= TOLERANCE)) {
  console.error(
    report.failed ?? `losses differ from the interpreter's by ${report.error}: ${JSON.stringify(report.device)}`,
  );
  process.exitCode = 1;
} else
  console.log(
    `${STEPS} training steps in Chromium on ${report.adapter}: within ${report.error?.toExponential(1)} of the interpreter.`,
  );
