import { type Static, Type } from "typebox";
import { id, instant, nullable, object, oneOf } from "#kernel/schema";
import { testStates } from "../watch/schema.ts";

const probeNames = ["snmp", "icmp", "tcp"] as const;
export type ProbeName = (typeof probeNames)[number];

/** Members of a body that say how to test. */
export const testFields = {
  probes: Type.Optional(
    Type.Array(oneOf(probeNames), {
      minItems: 1,
      uniqueItems: true,
      default: ["snmp", "icmp"],
      description: "SNMP alone decides the test state; the others are information.",
    }),
  ),
  tcpPort: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: "The port of the probe `tcp`, one of those that the operator allows.",
      }),
    ),
  ),
};
export const NewWatchTest = object(testFields, { title: "NewWatchTest" });
export type NewWatchTest = Static<typeof NewWatchTest>;

const said = nullable(Type.String());
const System = object(
  {
    descr: said,
    objectId: said,
    upTimeTicks: nullable(Type.Integer({ description: "Hundredths of a second, modulo 2^32." })),
    contact: said,
    name: said,
    location: said,
  },
  { title: "DeviceSystem", description: "The device's system group." },
);

const milliseconds = Type.Optional(nullable(Type.Number()));
const Icmp = object(
  {
    outcome: oneOf(["measured", "not_available"]),
    sent: Type.Optional(Type.Integer()),
    received: Type.Optional(Type.Integer()),
    minMs: milliseconds,
    avgMs: milliseconds,
    maxMs: milliseconds,
  },
  { title: "IcmpResult" },
);
const Tcp = object({ port: Type.Integer(), outcome: oneOf(["open", "refused", "timeout"]) }, { title: "TcpResult" });

/** Before the first test there is only the state. */
export const WatchTest = object(
  {
    testState: oneOf(testStates, { description: "Of the watch as it is now." }),
    testReason: Type.Optional(nullable(Type.String({ description: "Of the watch as it is now." }))),
    testMessage: Type.Optional(nullable(Type.String({ description: "The reason of a failed test in words." }))),
    testedAt: Type.Optional(instant),
    operationId: Type.Optional(id("opn", { description: "The test that this is the result of." })),
    address: Type.Optional(nullable(Type.String({ description: "The address that was contacted." }))),
    system: Type.Optional(nullable(System)),
    icmp: Type.Optional(nullable(Icmp)),
    tcp: Type.Optional(nullable(Tcp)),
    interfaceCount: Type.Optional(nullable(Type.Integer())),
    truncated: Type.Optional(Type.Boolean({ description: "The device has more interfaces than were read." })),
  },
  { title: "WatchTest", "x-etag": true },
);
export type WatchTest = Static<typeof WatchTest>;

export const WatchInterfaceRow = object(
  {
    ifIndex: Type.Integer(),
    ifName: said,
    ifDescr: said,
    ifAlias: said,
    ifType: nullable(Type.Integer()),
    ifSpeedBps: nullable(Type.Integer()),
    ifHighSpeedMbps: nullable(Type.Integer()),
    adminStatus: said,
    operStatus: said,
    resolvedAt: Type.String({ format: "date-time", description: "When the device listed it." }),
    has64BitCounters: Type.Boolean(),
    chosen: Type.Boolean({ description: "Whether the watch's `interface` fits it." }),
  },
  { title: "WatchInterfaceRow" },
);
export type WatchInterfaceRow = Static<typeof WatchInterfaceRow>;
