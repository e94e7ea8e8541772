// Writes chromium, al2023.tar (libraries) and fonts.tar into a folder that npm has filled: unpack_browser.mjs FOLDER
import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const folder = process.argv[2];
const packed = join(folder, "node_modules/@sparticuz/chromium/bin");
for (const [from, to, mode] of [
  ["chromium.br", "chromium", 0o755],
  ["al2023.tar.br", "al2023.tar", 0o644],
  ["fonts.tar.br", "fonts.tar", 0o644],
]) {
  await pipeline(
    createReadStream(join(packed, from)),
    createBrotliDecompress(),
    createWriteStream(join(folder, to), { mode }),
  );
}
