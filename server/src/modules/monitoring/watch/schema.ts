import { type Static, type TSchema, Type } from "typebox";
import { id, instant, nullable, object, oneOf, text } from "#kernel/schema";
import { Place } from "../place/schema.ts";
import { tombstoneOf } from "../tombstone.ts";

export const supportedTypes = ["Bearer", "ADSL", "SDSL"] as const;
const laterTypes = [
  "VLAN",
  "Multilink",
  "Traffic Class",
  "Tunnel",
  "Wireless Access Point",
  "Cellular",
  "Nbar",
  "Flow",
  "LAN Switch",
  "Http Server",
  "ICMP Echo",
  "MOS Test",
  "Precision Delay",
  "TCP Connect",
  "UDP Echo",
  "Device Status",
] as const;
export const knownTypes = [...supportedTypes, ...laterTypes] as const;

export const statuses = ["pending", "active", "disabled"] as const;
export const testStates = ["untested", "inProgress", "successful", "failed", "interfaceIssue"] as const;
export const interfaceMatches = ["ifName", "ifDescr", "ifAlias", "ifIndex"] as const;
export const blockerCodes = [
  "device_address_missing",
  "snmp_missing",
  "not_tested",
  "test_in_progress",
  "test_failed",
  "interface_missing",
  "interface_gone",
  "interface_ambiguous",
] as const;
export const warningCodes = [
  "tier_above_access",
  "counter32_on_fast_line",
  "interface_by_index",
  "snmp_weak_crypto",
] as const;

const authProtocols = ["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"] as const;
const privProtocols = ["DES", "AES-128", "AES-256", "AES-256-C"] as const;
const securityLevels = ["noAuthNoPriv", "authNoPriv", "authPriv"] as const;
const versions = ["v1", "v2c", "v3"] as const;

function printable(min: number, max: number, options: Record<string, unknown> = {}) {
  return Type.String({
    minLength: min,
    maxLength: max,
    pattern: "^[ -~]*$",
    "x-pattern": "Printable ASCII characters only.",
    ...options,
  });
}

const kbps = Type.Integer({
  minimum: 1,
  maximum: 1_000_000_000,
  description: "Thousands of bits a second.",
  examples: [80_000],
});
const name = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: "^[A-Za-z0-9.\\-_+!$#@=]*$",
  "x-pattern": "Only A-Z a-z 0-9 . - _ + ! $ # @ = may stand in the name.",
  examples: ["HSC1921-VLAN3-InterRtr"],
});
const pollingMinutes = Type.Unsafe<1 | 3 | 5>({ type: "integer", enum: [1, 3, 5] });
const interfaceMatch = oneOf(interfaceMatches);
const interfaceValue = text(255, { examples: ["GigabitEthernet0/0/1"] });

const Interface = object({ match: interfaceMatch, value: interfaceValue }, { title: "WatchInterface" });

/** A row of the device's interface list that the wanted interface was found to be. */
const InterfaceResolved = object(
  {
    ifIndex: Type.Integer(),
    ifName: nullable(Type.String()),
    ifDescr: nullable(Type.String()),
    ifAlias: nullable(Type.String()),
    ifType: nullable(Type.Integer()),
    ifSpeedBps: nullable(Type.Integer()),
    ifHighSpeedMbps: nullable(Type.Integer()),
    adminStatus: nullable(Type.String()),
    operStatus: nullable(Type.String()),
    resolvedAt: instant,
  },
  { title: "WatchInterfaceResolved" },
);

const Snmp = object(
  {
    version: oneOf(versions),
    port: Type.Integer(),
    userName: Type.Optional(Type.String()),
    securityLevel: Type.Optional(oneOf(securityLevels)),
    authProtocol: Type.Optional(oneOf(authProtocols)),
    privProtocol: Type.Optional(oneOf(privProtocols)),
    contextName: Type.Optional(nullable(Type.String())),
    credentialSet: Type.Boolean({ description: "Always true: secrets are stored and never shown." }),
  },
  { title: "WatchSnmp" },
);

const snmpFields = {
  port: Type.Integer({ minimum: 1, maximum: 65_535, default: 161 }),
  community: printable(1, 127, { writeOnly: true }),
  userName: printable(1, 32),
  securityLevel: oneOf(securityLevels),
  authProtocol: oneOf(authProtocols),
  authPassphrase: printable(8, 127, { writeOnly: true }),
  privProtocol: oneOf(privProtocols),
  privPassphrase: printable(8, 127, { writeOnly: true }),
  contextName: printable(1, 255),
};
const serverOfSnmp = { "x-read-only": ["credentialSet"] };
const NewSnmp = object(
  { version: oneOf(versions), ...optional({ ...snmpFields, contextName: nullable(snmpFields.contextName) }) },
  serverOfSnmp,
);
/** Merged into the stored settings, secrets included. */
const SnmpChange = object(
  { version: Type.Optional(nullable(oneOf(versions))), ...optional(clearable(snmpFields)) },
  serverOfSnmp,
);

function optional<F extends Record<string, TSchema>>(fields: F) {
  return Object.fromEntries(Object.entries(fields).map(([key, schema]) => [key, Type.Optional(schema)])) as {
    [K in keyof F]: ReturnType<typeof Type.Optional<F[K]>>;
  };
}

function clearable<F extends Record<string, TSchema>>(fields: F) {
  return Object.fromEntries(Object.entries(fields).map(([key, schema]) => [key, nullable(schema)])) as {
    [K in keyof F]: ReturnType<typeof nullable<F[K]>>;
  };
}

const Blocker = oneOf(blockerCodes);
const Warning = object(
  { code: oneOf(warningCodes), pointer: Type.String(), message: Type.String() },
  { title: "WatchWarning" },
);

export const Watch = object(
  {
    id: id("wch"),
    numericId: Type.Integer(),
    tenantId: id("tnt"),
    name: Type.String(),
    locationId: id("loc"),
    location: Type.String({ description: "The location's name." }),
    path: Type.Array(Type.String(), {
      description: "Names of the folders below the caller's own that lead to the location.",
    }),
    timeZone: Type.String({ description: "The location's." }),
    description: nullable(Type.String()),
    watchType: oneOf(supportedTypes),
    productType: nullable(Type.String()),
    reference: nullable(Type.String()),
    customerReference: nullable(
      Type.String({ description: "The watch's own, else that of the nearest folder above that has one." }),
    ),
    customerReferenceFrom: object({ kind: oneOf(["own", "folder", "none"]), folderId: nullable(id("fld")) }),
    accessInKbps: Type.Integer(),
    accessOutKbps: Type.Integer(),
    tierInKbps: nullable(Type.Integer()),
    tierOutKbps: nullable(Type.Integer()),
    deviceAddress: nullable(Type.String()),
    snmp: nullable(Snmp),
    interface: nullable(Interface),
    interfaceResolved: nullable(InterfaceResolved),
    pollingMinutes: Type.Integer(),
    siteLink: Type.Boolean(),
    dormant: Type.Boolean(),
    group: nullable(Type.String()),
    status: oneOf(statuses),
    testState: oneOf(testStates),
    testReason: nullable(Type.String()),
    testedAt: nullable(instant),
    blockers: Type.Array(Blocker, { description: "What stands between this watch and activating or enabling it." }),
    warnings: Type.Array(Warning),
    activatedAt: nullable(instant),
    activatedBy: nullable(Type.String()),
    disabledAt: nullable(instant),
    createdAt: instant,
    createdBy: Type.String(),
    updatedAt: instant,
    updatedBy: Type.String(),
    changedAt: instant,
  },
  { title: "Watch" },
);
export type Watch = Static<typeof Watch>;
export type WatchWarning = Static<typeof Warning>;
export type BlockerCode = (typeof blockerCodes)[number];

export const WatchTombstone = tombstoneOf("WatchTombstone", "wch", "locationId", id("loc"));

const written = {
  name,
  locationId: id("loc"),
  watchType: Type.String({
    description: `One of ${supportedTypes.join(", ")}; other known types are refused with \`watch_type_not_supported\`.`,
    examples: ["Bearer"],
  }),
  accessInKbps: kbps,
  accessOutKbps: kbps,
};
const writtenOptional = {
  description: nullable(text(100)),
  productType: nullable(text(20)),
  reference: nullable(text(50)),
  customerReference: nullable(text(100)),
  tierInKbps: nullable(kbps),
  tierOutKbps: nullable(kbps),
  deviceAddress: nullable(text(253, { examples: ["192.0.2.10"] })),
  pollingMinutes,
  siteLink: Type.Boolean(),
  dormant: Type.Boolean(),
  group: nullable(text(50, { description: "A label of pending watches." })),
};
const byServer = {
  "x-read-only": [
    "id",
    "numericId",
    "tenantId",
    "path",
    "location",
    "timeZone",
    "customerReferenceFrom",
    "interfaceResolved",
    "status",
    "testState",
    "testReason",
    "testedAt",
    "blockers",
    "warnings",
    "activatedAt",
    "activatedBy",
    "disabledAt",
    "createdAt",
    "createdBy",
    "updatedAt",
    "updatedBy",
    "changedAt",
  ],
};

const { locationId, ...required } = written;
export const NewWatch = object(
  {
    ...required,
    locationId: Type.Optional(locationId),
    place: Type.Optional(Place),
    ...optional(writtenOptional),
    snmp: Type.Optional(nullable(NewSnmp)),
    interface: Type.Optional(nullable(Interface)),
  },
  {
    title: "NewWatch",
    description: "Either `locationId` or `place` is needed.",
    examples: [
      {
        name: "HSC1921-VLAN3-InterRtr",
        watchType: "Bearer",
        locationId: "loc_01jd8w6r7qf0ztb5c2m9x4k3en",
        accessInKbps: 80_000,
        accessOutKbps: 20_000,
      },
    ],
    ...byServer,
  },
);
export type NewWatch = Static<typeof NewWatch>;

export const WatchChange = object(
  {
    ...optional({ ...written, ...writtenOptional }),
    snmp: Type.Optional(nullable(SnmpChange)),
    interface: Type.Optional(nullable(object(optional({ match: interfaceMatch, value: interfaceValue })))),
  },
  { title: "WatchChange", ...byServer },
);
export type WatchChange = Static<typeof WatchChange>;

/** An upsert states either enough to create, or what to merge into the watch that it hits. */
export const WatchUpsert = object(
  { ...WatchChange.properties, place: Type.Optional(Place) },
  { title: "WatchUpsert", ...byServer },
);
export type WatchUpsert = Static<typeof WatchUpsert>;

export const WatchType = object(
  {
    watchType: oneOf(knownTypes),
    supported: Type.Boolean(),
    suggestedInKbps: nullable(Type.Integer({ description: "Advice for a picker, never a limit." })),
    suggestedOutKbps: nullable(Type.Integer()),
  },
  { title: "WatchType" },
);
export type WatchType = Static<typeof WatchType>;
