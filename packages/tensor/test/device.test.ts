import { describe, expect, it } from "vitest";
import { DeviceError } from "../src/errors.ts";
import { Device, type DeviceOptions, showBytes, usage } from "../src/runtime/device.ts";

interface Fake {
  readonly device: Device;
  /** What the next out-of-memory scope says. */
  outOfMemory: GPUError | null;
  /** Reports an error that no scope caught. */
  readonly fail: (message: string) => void;
  readonly lose: (message: string) => void;
}

/** A device on a GPU that exists on paper only. */
function fake(
  info: Partial<GPUAdapterInfo> = {},
  options: DeviceOptions = {},
  features: readonly string[] = ["subgroups"],
): Fake {
  const events = new EventTarget();
  let lose: (info: GPUDeviceLostInfo) => void = () => undefined;
  const lost = new Promise<GPUDeviceLostInfo>((resolve) => (lose = resolve));
  const scopes: string[] = [];
  const gpu = Object.assign(events, {
    features: new Set(features),
    limits: { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 27, maxComputeWorkgroupsPerDimension: 65535 },
    lost,
    pushErrorScope: (filter: string) => void scopes.push(filter),
    popErrorScope: () => Promise.resolve(scopes.pop() === "out-of-memory" ? self.outOfMemory : null),
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy: () => undefined }),
  }) as unknown as GPUDevice; // as much of it as a Device uses
  const adapter = {
    vendor: "",
    architecture: "",
    device: "",
    description: "",
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    ...info,
  };
  const device = new Device({} as GPU, gpu, adapter as GPUAdapterInfo, { ...options, nap: null }); // the instance is only held
  const self: Fake = {
    device,
    outOfMemory: null,
    fail: (message) => void events.dispatchEvent(Object.assign(new Event("uncapturederror"), { error: { message } })),
    lose: (message) => lose({ reason: "unknown", message } as GPUDeviceLostInfo),
  };
  return self;
}

const buffer = ({ device }: Fake, kind: string, bytes: number): GPUBuffer =>
  device.buffer(kind, kind, bytes, usage.storage);

describe("a device's target", () => {
  it.each([
    ["lavapipe", { vendor: "mesa", architecture: "software", subgroupMinSize: 8, subgroupMaxSize: 8 }, "lanes", 8],
    [
      "SwiftShader",
      { vendor: "google", architecture: "swiftshader", subgroupMinSize: 4, subgroupMaxSize: 4 },
      "lanes",
      4,
    ],
    [
      "an adapter with subgroups of several sizes",
      { vendor: "intel", subgroupMinSize: 8, subgroupMaxSize: 32 },
      "tiles",
      0,
    ],
    ["a GPU", { vendor: "nvidia", architecture: "hopper" }, "tiles", 32],
  ])("for %s has the kernels that suit it", (_, info, family, subgroup) => {
    expect(fake(info).device.target).toMatchObject({ family, subgroup });
  });

  it("is tiles on a software adapter without subgroups", () => {
    const info = { vendor: "mesa", architecture: "software", subgroupMinSize: 8, subgroupMaxSize: 8 };
    expect(fake(info, {}, []).device.target).toMatchObject({ family: "tiles", subgroup: 0 });
  });

  it("is what was asked for, if the adapter can do it", () => {
    expect(fake({}, { family: "lanes" }).device.target.family).toBe("lanes");
    expect(() => fake({ description: "Some GPU" }, { family: "lanes" }, [])).toThrow(
      /Some GPU has no subgroups of a fixed size/,
    );
  });
});

describe("a device's account", () => {
  it("is of what is allocated now, by kind", () => {
    const it = fake();
    const first = buffer(it, "weights", 100);
    buffer(it, "weights", 20);
    buffer(it, "optimizer", 8);
    expect(it.device.allocated()).toEqual({ weights: 120, optimizer: 8 });
    it.device.free(first);
    expect(it.device.allocated()).toEqual({ weights: 20, optimizer: 8 });
  });

  it("does not pass the cap", () => {
    const it = fake({}, { memory: 1000 });
    buffer(it, "weights", 900);
    expect(() => buffer(it, "activations", 200)).toThrow(
      /^needs 200 B of device memory \(activations 200 B\); 900 B are allocated and 1\.00 kB allowed\./,
    );
    expect(it.device.allocated()).toEqual({ weights: 900 });
  });

  it("undoes an allocation that the driver has no memory for, and says how much was wanted", async () => {
    const it = fake();
    buffer(it, "weights", 5000);
    it.outOfMemory = { message: "vkAllocateMemory failed" };
    const made: GPUBuffer[] = [];
    const allocated = it.device.allocate(
      () => void made.push(buffer(it, "activations", 7000)),
      () => made.forEach((b) => it.device.free(b)),
    );
    await expect(allocated).rejects.toThrow(
      /out of memory: 7\.00 kB were wanted while 5\.00 kB were allocated\. Take smaller/,
    );
    expect(it.device.allocated()).toEqual({ weights: 5000 });
  });
});

describe("a device's faults", () => {
  it("are thrown by the next check, with the text of the shader they name", () => {
    const it = fake();
    it.device.check();
    it.device.shaders.set("fn main() {}", "matmul nt");
    it.fail('[ComputePipeline "matmul nt"] is invalid');
    expect(() => it.device.check()).toThrow(
      new DeviceError('[ComputePipeline "matmul nt"] is invalid\n// matmul nt\nfn main() {}'),
    );
  });

  it("say that the device was lost", async () => {
    const it = fake();
    it.lose("the driver restarted");
    await Promise.resolve();
    expect(() => it.device.check()).toThrow(new DeviceError("the device was lost: the driver restarted"));
  });
});

describe("showBytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [154389504, "154 MB"],
    [4.94e9, "4.94 GB"],
  ])("shows %d as %s", (bytes, text) => expect(showBytes(bytes)).toBe(text));
});
