/** @file Values on their way to the device and back: conversion to the stored type, in chunks. */
import { bytesPerElement, type DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { type Device, usage } from "./device.ts";
import { f16ToNumber } from "./host.ts";
import { eachPiece, type Given, type Source, type Values } from "./runtime.ts";

/** Bytes moved at a time: one mapping of 128 MiB is five times slower than eight of 16 MiB. */
const CHUNK = 2 ** 24;
/** Bytes moved at a time where the device has no more left. */
const LEAST = 2 ** 12;
/** Bytes of a buffer that holds n bytes: whole vec4s, so that kernels may load four values at a time. */
export const padded = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16);

/** @throws {ShapeError} if a value's length is not what its shape says. */
export function checkLength(name: string, values: Source, size: number): void {
  if (values.length !== size) throw new ShapeError(`${name}: got ${values.length} values, wants ${size}.`);
}

const arrayOf = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u32: Uint32Array } as const satisfies Record<
  DType,
  unknown
>;

/**
 * Makes a function that writes values of one type to one place in `memory`; made once, used at every run.
 * @throws {ShapeError} (when called) for a wrong length, or f16 data that is not given as words.
 */
export function writer(
  name: string,
  dtype: DType,
  memory: ArrayBuffer,
  offset: number,
  size: number,
): (values: Source) => void {
  const view = new arrayOf[dtype](memory, offset, size);
  return (values) => {
    checkLength(name, values, size);
    const words = values instanceof Uint16Array;
    if (dtype === "f16" && !words)
      throw new ShapeError(`${name} is stored in f16: give its 16-bit words as a Uint16Array.`);
    view.set(dtype === "f32" && words ? Float32Array.from(values, f16ToNumber) : values);
  };
}

/** Writes values to a buffer from `offset` on, a chunk at a time. Offsets are multiples of 4. */
export async function upload(
  device: Device,
  name: string,
  buffer: GPUBuffer,
  offset: number,
  dtype: DType,
  values: Source,
): Promise<void> {
  const width = bytesPerElement[dtype];
  const length = Math.min(values.length, CHUNK / width);
  let memory: ArrayBuffer | null = null;
  for (let start = 0; start < values.length; start += length) {
    const chunk = part(values, start, Math.min(start + length, values.length));
    const bytes = Math.ceil((chunk.length * width) / 4) * 4;
    if (isStored(chunk, dtype) && chunk.byteLength === bytes) {
      device.gpu.queue.writeBuffer(buffer, offset + start * width, chunk);
    } else {
      memory ??= new ArrayBuffer(padded(length * width));
      writer(name, dtype, memory, 0, chunk.length)(chunk);
      device.gpu.queue.writeBuffer(buffer, offset + start * width, memory, 0, bytes);
    }
    await device.handed(bytes);
  }
}

/** Whether values are as they are stored, in memory that the queue may read: views of shared memory crash it. */
const isStored = (
  values: Source,
  dtype: DType,
): values is Exclude<Source, readonly number[]> & ArrayBufferView<ArrayBuffer> =>
  values instanceof arrayOf[dtype] && values.buffer instanceof ArrayBuffer;

const part = (values: Source, start: number, end: number): Source =>
  Array.isArray(values)
    ? values.slice(start, end)
    : (values as Exclude<Source, readonly number[]>).subarray(start, end); // not an Array, so a view

/** Values as they are stored. */
export async function pack(name: string, dtype: DType, given: Given, size: number): Promise<ArrayBuffer> {
  const width = bytesPerElement[dtype];
  const memory = new ArrayBuffer(padded(size * width));
  await eachPiece(name, given, size, (piece, at) => writer(name, dtype, memory, at * width, piece.length)(piece));
  return memory;
}

/** Values of `size` elements from bytes as they are stored: f32 and f16 as f32, integers as f64. */
export function decode(dtype: DType, bytes: ArrayBuffer, offset: number, size: number): Values {
  if (dtype === "f32") return new Float32Array(bytes, offset, size).slice();
  const view = new arrayOf[dtype](bytes, offset, size);
  return dtype === "f16" ? Float32Array.from(view, f16ToNumber) : Float64Array.from(view);
}

/** Reads values in a buffer back, like `downloadBytes`. */
export async function download(
  device: Device,
  buffer: GPUBuffer,
  offset: number,
  dtype: DType,
  size: number,
): Promise<Values> {
  const bytes = Math.ceil((size * bytesPerElement[dtype]) / 4) * 4;
  const values = await downloadBytes(device, buffer, offset, bytes);
  return dtype === "f32" ? new Float32Array(values, 0, size) : decode(dtype, values, 0, size);
}

/** Reads a part of a buffer back after all work submitted so far. Offsets and lengths are multiples of 4. */
export async function downloadBytes(
  device: Device,
  buffer: GPUBuffer,
  offset: number,
  bytes: number,
): Promise<ArrayBuffer> {
  const values = new ArrayBuffer(bytes);
  const chunk = Math.min(bytes, CHUNK, Math.max(LEAST, Math.floor(device.left / LEAST) * LEAST));
  const staging = device.buffer("transfer", "readback", chunk, usage.staging);
  try {
    for (let start = 0; start < bytes; start += chunk) {
      const count = Math.min(chunk, bytes - start);
      const encoder = device.gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, offset + start, staging, 0, count);
      device.gpu.queue.submit([encoder.finish()]);
      await staging.mapAsync(usage.mapRead, 0, count);
      new Uint8Array(values, start).set(new Uint8Array(staging.getMappedRange(0, count)));
      staging.unmap();
      device.check();
    }
  } finally {
    device.free(staging);
  }
  return values;
}
