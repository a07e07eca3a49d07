/** @file The errors of training. */
import { GraftError } from "@graftml/tensor";

/** Data that cannot be trained on: a row without labels, a token outside of the vocabulary. The message names the row. */
export class DataError extends GraftError {}

/** A run that makes no sense as configured, or that cannot go on: a loss that is no number. */
export class TrainError extends GraftError {}
