import assert from "node:assert/strict";
import { test } from "node:test";
import { localizeKey, privacyKey } from "./snmp-wire.ts";

const engineId = Buffer.from("000000000000000000000002", "hex");

test("the agent makes the keys of RFC 3414 appendix A.3 from their passphrase", () => {
  assert.equal(localizeKey("MD5", "maplesyrup", engineId).toString("hex"), "526f5eed9fcce26f8964c2930787d82b");
  const sha = "6695febc9288e36282235fc7151f128497b38f3f";
  assert.equal(localizeKey("SHA", "maplesyrup", engineId).toString("hex"), sha);
});

test("the two ways to a longer AES key begin alike and end differently", () => {
  const blumenthal = privacyKey("AES-256", "SHA", "maplesyrup", engineId);
  const reeder = privacyKey("AES-256-C", "SHA", "maplesyrup", engineId);
  assert.deepEqual([blumenthal.length, reeder.length], [32, 32]);
  assert.deepEqual(blumenthal.subarray(0, 20), reeder.subarray(0, 20));
  // draft-reeder-snmpv3-usm-3desede-00 section 5.2
  assert.equal(reeder.subarray(20).toString("hex"), "9b8b6d78936ba6e7d19dfd9c");
  assert.notDeepEqual(blumenthal.subarray(20), reeder.subarray(20));
});
