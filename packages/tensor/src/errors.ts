/** @file The errors of this package; each says what, where, what was expected and what to do. */

/**
 * An error that `is` recognises even when two copies of the package are loaded: the marker is a global symbol.
 */
export abstract class GraftError extends Error {
  /** Whether `error` is of this class, whichever copy of the package made it. */
  static is<E extends abstract new (...args: never) => GraftError>(this: E, error: unknown): error is InstanceType<E> {
    return error instanceof Error && Symbol.for(`graft.${this.name}`) in error;
  }

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    // Mark with every class up to GraftError, so that `GraftError.is` holds for all of them.
    for (let c: unknown = new.target; typeof c === "function" && c !== Error; c = Object.getPrototypeOf(c))
      Object.defineProperty(this, Symbol.for(`graft.${c.name}`), { value: true });
  }
}

/** Shapes or dtypes that do not fit an operation. The message names the op, the site, the shapes and the axis. */
export class ShapeError extends GraftError {}

/** The device cannot do what was asked: no adapter, too little memory, a lost device, a shader that does not compile. */
export class DeviceError extends GraftError {}

/** A trace that has no meaning: a parameter read after its update, two declarations that disagree. */
export class TraceError extends GraftError {}
