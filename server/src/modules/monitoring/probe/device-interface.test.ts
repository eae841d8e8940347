import assert from "node:assert/strict";
import { test } from "node:test";
import { type DeviceInterface, resolveInterface, type WantedInterface } from "./device-interface.ts";

const row = (ifIndex: number, ifName: string | null, ifAlias: string | null = null): DeviceInterface => ({
  ifIndex,
  ifName,
  ifDescr: ifName && `long ${ifName}`,
  ifAlias,
  ifType: 6,
  ifSpeedBps: null,
  ifHighSpeedMbps: null,
  adminStatus: "up",
  operStatus: "up",
  has64BitCounters: true,
});
const rows = [row(1, "Gi0/1", "circuit 17"), row(2, "Gi0/2"), row(10, "Gi0/10", "spare"), row(11, "Gi0/11", "spare")];

function find(match: WantedInterface["match"], value: string) {
  const resolved = resolveInterface(rows, { match, value });
  return resolved.outcome === "found" ? resolved.interface.ifIndex : resolved.outcome;
}

test("an interface is found by each of the four ways to name it", () => {
  assert.equal(find("ifName", "Gi0/1"), 1);
  assert.equal(find("ifDescr", "long Gi0/2"), 2);
  assert.equal(find("ifAlias", "circuit 17"), 1);
  assert.equal(find("ifIndex", "10"), 10);
});

test("comparison is exact: neither a beginning nor another letter case fits", () => {
  assert.equal(find("ifName", "Gi0/"), "interface_gone");
  assert.equal(find("ifName", "gi0/1"), "interface_gone");
  assert.equal(find("ifIndex", "3"), "interface_gone");
});

test("several interfaces that fit are ambiguous, never the first of them", () => {
  assert.equal(find("ifAlias", "spare"), "interface_ambiguous");
});

test("no interface chosen is missing, also when the device has only one", () => {
  assert.deepEqual(resolveInterface(rows.slice(0, 1), null), { outcome: "interface_missing" });
});
