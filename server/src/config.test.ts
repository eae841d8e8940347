import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, readConfig } from "./config.ts";

test("unknown names and bad values stop the start, all listed at once", () => {
  const wrong = { DEMARC_PROT: "1", DEMARC_PORT: "many", HOME: "/" };
  assert.throws(
    () => readConfig(wrong),
    (error: Error) =>
      error instanceof ConfigError && /DEMARC_PROT/.test(error.message) && /DEMARC_PORT/.test(error.message),
  );
});

test("a shell in which demarc listen has its address and credential starts a server too", () => {
  const names = ["URL", "TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "API_KEY", "TOKEN"].map((name) => `DEMARC_${name}`);
  const env = Object.fromEntries(names.map((name) => [name, "x"]));
  assert.deepEqual(readConfig(env), readConfig({}));
});
