// The face for `import`. There is one copy of the code, so an error or a client is of the same class for whoever loaded it either way.
export * from "./index.js";
