/** @file From shader text to pipeline: equal text, equal pipeline; errors come with the lines they are about. */
import { DeviceError } from "../errors.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Device } from "./device.ts";

/** The pipelines made on one device. */
export class Pipelines {
  readonly #device: Device;
  readonly #byText = new Map<string, Promise<GPUComputePipeline>>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** How many distinct texts have been compiled. */
  get size(): number {
    return this.#byText.size;
  }

  /** The pipeline of a kernel. @throws {DeviceError} with the place in the text if it does not compile. */
  get(kernel: Kernel): Promise<GPUComputePipeline> {
    let pipeline = this.#byText.get(kernel.code);
    if (pipeline === undefined) {
      pipeline = build(this.#device, kernel);
      this.#byText.set(kernel.code, pipeline);
    }
    return pipeline;
  }
}

async function build({ gpu, shaders }: Device, { label, code }: Kernel): Promise<GPUComputePipeline> {
  shaders.set(code, label);
  gpu.pushErrorScope("validation");
  const module = gpu.createShaderModule({ label, code });
  const scope = gpu.popErrorScope();
  const made = gpu.createComputePipelineAsync({ label, layout: "auto", compute: { module, entryPoint: "main" } });
  try {
    return await made;
  } catch (cause) {
    const [{ messages }, error] = await Promise.all([module.getCompilationInfo(), scope]);
    const places = messages
      .filter((m) => m.type === "error")
      .map((m) => excerpt(code, m.message, m.lineNum, m.linePos));
    const reason = places.length > 0 ? places.join("\n") : `${error?.message ?? String(cause)}\n${code}`;
    throw new DeviceError(`kernel "${label}" does not compile: ${reason}`, { cause });
  }
}

/** A message with the lines around the place it is about, numbered. */
function excerpt(code: string, message: string, line: number, column: number): string {
  const lines = code.split("\n");
  const first = Math.max(1, line - 3);
  const shown = lines.slice(first - 1, line + 3).map((text, i) => {
    const number = first + i;
    return `${number === line ? ">" : " "} ${String(number).padStart(4)} | ${text}`;
  });
  return [`line ${line}, column ${column}: ${message}`, ...shown].join("\n");
}
