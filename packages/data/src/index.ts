export type { ByteBatch, ByteDatasetOptions } from "./byteDataset.ts";
export { ByteDataset } from "./byteDataset.ts";
export { byteVocabularySize, decodeBytes, encodeBytes } from "./byteTokens.ts";
export { DataError } from "./dataError.ts";
export { bigramCrossEntropy, bigramEntropy, natsToBits, unigramCrossEntropy, unigramEntropy } from "./entropy.ts";
export type { TextSource } from "./textSource.ts";
export { loadText } from "./textSource.ts";
