/** This package's version, as in its package.json. */
export const version = "0.1.0";

/** The version of the protocol that this client speaks. */
export const PROTOCOL_VERSION = 1;
