import { types } from 'node:util'

/**
 * Typed arrays by what they are, not by whose they are: Jest and other programs that load modules in contexts of their own have other
 * constructors there than the addon, so that `instanceof` refuses asdm's own arrays.
 */
export const isFloat32Array: (value: unknown) => value is Float32Array = types.isFloat32Array
/** See {@link isFloat32Array}. */
export const isInt32Array: (value: unknown) => value is Int32Array = types.isInt32Array
/** An `Error`, see {@link isFloat32Array}. */
export const isError: (value: unknown) => value is Error = types.isNativeError
