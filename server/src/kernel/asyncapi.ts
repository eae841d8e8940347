/**
 * The AsyncAPI 3.0 document of what the server sends (notifications, part F): made from the types of events, as the
 * OpenAPI documents are from the routes. It speaks for the server: every operation is `send`.
 */
import { faults } from "../stomp/faults.ts";
import { Components, type Json } from "./document-components.ts";
import { eventExample } from "./event-example.ts";
import { knownTypes } from "./event-filter.ts";
import { Event, eventSchema } from "./event-view.ts";
import type { EventKind } from "./events.ts";
import type { Kernel } from "./kernel.ts";

type Source = Pick<Kernel, "versions"> & { settings: Pick<Kernel["settings"], "release"> };
type Channel = { address: string | null; about: string; summary: string; parameters?: Json; types: string[] };

const mediaType = "application/cloudevents+json";
const to = (section: string, name: string) => ({ $ref: `#/components/${section}/${name}` });

/** The document of a label; undefined where there is no such label. */
export function asyncapiDocument(source: Source, label: string): Json | undefined {
  const resolved = source.versions.resolve(label);
  if (!resolved) return undefined;
  const version = resolved.version.label;
  const kinds = knownTypes(source.versions, version);
  const components = new Components();
  const messages = Object.fromEntries(kinds.map((kind) => [kind.type, messageOf(source, kind, version, components)]));
  const channels = channelsOf(label, kinds);
  const streamed = "event-stream";
  const { deprecatedAt, sunsetAt } = resolved.version;
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Demarc notifications",
      version: label,
      description: describe(label, source.settings.release),
      license: { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      contact: { name: "Demarc" },
      tags: [...new Set(kinds.map(({ service }) => service))].sort().map((name) => ({ name })),
      ...(deprecatedAt ? { "x-deprecated-at": deprecatedAt, "x-sunset-at": sunsetAt ?? null } : {}),
    },
    defaultContentType: mediaType,
    servers: {
      stomp: serverOf("stomp", `/${label}/stomp`, "STOMP 1.0, 1.1 and 1.2 over WebSocket (RFC 6455).", [
        "passcode",
        "bearer",
        "xApiKey",
      ]),
      eventStream: serverOf("sse", `/${label}/event-stream`, "Server-Sent Events over HTTP: the event log, followed.", [
        "bearer",
        "xApiKey",
      ]),
    },
    channels: {
      ...Object.fromEntries(
        Object.entries(channels).map(([name, { address, about, parameters, types }]) => [
          name,
          {
            address,
            description: about,
            servers: [{ $ref: "#/servers/stomp" }],
            ...(parameters ? { parameters } : {}),
            messages: Object.fromEntries(types.map((type) => [type, to("messages", type)])),
          },
        ]),
      ),
      eventStream: {
        address: null,
        description: "The event stream of the acting tenant; its address is the server's own.",
        servers: [{ $ref: "#/servers/eventStream" }],
        messages: { [streamed]: to("messages", streamed) },
      },
    },
    operations: {
      ...Object.fromEntries(
        Object.entries(channels).map(([name, { summary }]) => [
          operationOf(name),
          { action: "send", channel: { $ref: `#/channels/${name}` }, summary },
        ]),
      ),
      [operationOf("eventStream")]: {
        action: "send",
        channel: { $ref: "#/channels/eventStream" },
        summary: "Sends every visible event.",
      },
    },
    components: {
      messages: {
        ...messages,
        ...noticeMessages(version),
        [streamed]: {
          name: streamed,
          summary:
            "One event: `id` is its cursor, `event` its type, `data` the event on one line, of the schema of its type.",
          contentType: "text/event-stream",
          // Not one of the types that there are: a new one must not change what is promised of the others.
          payload: components.put(Event),
        },
      },
      schemas: { ...components.all(), MessageHeaders: messageHeaders },
      securitySchemes,
    },
  };
}

const operationOf = (channel: string) => `send${channel[0]!.toUpperCase()}${channel.slice(1)}`;

function serverOf(protocol: string, pathname: string, description: string, schemes: string[]): Json {
  return {
    host: "{host}",
    pathname,
    protocol,
    ...(protocol === "stomp" ? { protocolVersion: "1.2" } : {}),
    description,
    variables: { host: { default: "localhost:8080", description: "Host and port of this installation." } },
    security: schemes.map((name) => to("securitySchemes", name)),
  };
}

function messageOf({ versions }: Source, kind: EventKind, version: string, components: Components): Json {
  return {
    name: kind.type,
    summary: kind.summary,
    description: `Needs the permission \`${kind.permission}\`.`,
    tags: [{ name: kind.service }],
    contentType: mediaType,
    headers: to("schemas", "MessageHeaders"),
    payload: components.put(eventSchema(versions, kind, version)),
    examples: [{ name: "catalogue", payload: eventExample(versions, kind, version) }],
  };
}

/** A channel per form of destination; the labels of GA versions stand in it, others are the connection's. */
function channelsOf(label: string, kinds: readonly EventKind[]): Record<string, Channel> {
  const at = /^v/.test(label) ? `/${label}` : "";
  const types = kinds.map(({ type }) => type);
  const service = { description: "A service.", enum: [...new Set(kinds.map((kind) => kind.service))].sort() };
  const noun = {
    description: "What an event of the service is about.",
    enum: [...new Set(kinds.map((kind) => kind.noun))].sort(),
  };
  const topic = `/topic${at}/event`;
  return {
    events: { address: topic, about: "Every event that is visible.", summary: "Sends every visible event.", types },
    serviceEvents: {
      address: `${topic}/{service}`,
      about: "Those of a service. Needs a read permission of that service.",
      summary: "Sends the events of a service.",
      parameters: { service },
      types,
    },
    nounEvents: {
      address: `${topic}/{service}.{noun}`,
      about: "Those of a noun. Needs its read permission.",
      summary: "Sends the events of a noun.",
      parameters: { service, noun },
      types,
    },
    resourceEvents: {
      address: `${topic}/{service}.{noun}/{id}`,
      about: "Those of one resource, which must be visible to the caller.",
      summary: "Sends the events of one resource.",
      parameters: { service, noun, id: { description: "Id of the resource." } },
      types,
    },
    queue: {
      address: `/queue${at}/{name}`,
      about: "A queue of the acting tenant: each of its events goes to one consumer.",
      summary: "Sends a consumer its share of a queue.",
      parameters: { name: { description: "Name of the queue." } },
      types,
    },
    operations: {
      address: `/user/queue${at}/operation`,
      about: "The operations that the caller started, to all its sessions. Needs no permission.",
      summary: "Sends how the caller's operations go.",
      types: types.filter((type) => type.startsWith("demarc.notifications.operation.")),
    },
    session: {
      address: "/user/queue/session",
      about: "Notices about this session. They are not in the event log, so nothing brings them again.",
      summary: "Sends notices about the session.",
      types: Object.keys(notices),
    },
  };
}

const text = (description: string, more: Json = {}) => ({ type: "string", description, ...more });
const notices = {
  "token.expiring": "The session's credential ends within a minute.",
  "version.deprecated": "The version that the session was opened with is deprecated.",
};

/** Notices are CloudEvents too, but stand in no log: they have neither sequence nor cursor. */
function noticeMessages(version: string): Json {
  const { cursor: _, redelivered: __, "delivery-count": ___, ...properties } = messageHeaders.properties;
  const required = messageHeaders.required.filter((name) => name !== "cursor");
  return Object.fromEntries(
    Object.entries(notices).map(([name, summary]) => [
      name,
      {
        name,
        summary,
        contentType: mediaType,
        headers: { type: "object", required, properties },
        payload: noticeSchema(name, version),
      },
    ]),
  );
}

function noticeSchema(name: string, version: string): Json {
  const dates = {
    deprecatedAt: { type: ["string", "null"], description: "Since when." },
    sunsetAt: { type: ["string", "null"], description: "From when it is served no more." },
  };
  const properties = {
    specversion: { type: "string", const: "1.0" },
    id: text("Id of the notice."),
    source: text("The service that tells.", { format: "uri" }),
    type: { type: "string", const: name },
    subject: text("Id of the session."),
    time: text("When it was told.", { format: "date-time" }),
    datacontenttype: { type: "string", const: "application/json" },
    tenantid: text("The acting tenant."),
    apiversion: { type: "string", const: version },
    data: {
      type: "object",
      required: ["message"],
      properties: { message: text("In words."), ...(name === "version.deprecated" ? dates : {}) },
    },
  };
  return { type: "object", required: Object.keys(properties), properties };
}

const messageHeaders = {
  title: "MessageHeaders",
  type: "object",
  required: ["message-id", "destination", "content-type", "content-length", "event-id", "event-type", "cursor"],
  properties: {
    subscription: text("The id of the SUBSCRIBE (STOMP 1.0: if it had one)."),
    "message-id": text("The event's id, a dot, and the number of this MESSAGE in the session."),
    destination: text("The text of the SUBSCRIBE."),
    ack: text("What ACK and NACK name (STOMP 1.2, client modes)."),
    "content-type": text("Always `application/cloudevents+json;charset=utf-8`."),
    "content-length": text("Octets of the body."),
    "event-id": text("The event's id: the same in every repeat."),
    "event-type": text("The event's type."),
    cursor: text("The place just after this event: give it as `last-event-id` to go on."),
    redelivered: text("`true` on a repeat."),
    "delivery-count": text("On a repeat: how often it was sent, this time included."),
  },
};

const securitySchemes = {
  passcode: {
    type: "userPassword",
    description: "CONNECT header `passcode`: an access token or an API key; any `login`.",
  },
  bearer: {
    type: "http",
    scheme: "bearer",
    description: "`Authorization:Bearer <token or key>`, as a header of CONNECT or of the handshake.",
  },
  xApiKey: {
    type: "httpApiKey",
    in: "header",
    name: "x-api-key",
    description: "An API key, as a header of CONNECT or of the handshake.",
  },
};

function describe(label: string, release: string): string {
  const closing = Object.groupBy(Object.entries(faults), ([, [code]]) => String(code));
  const codes = Object.entries(closing).map(
    ([code, list]) => `- ${code}: ${list!.map(([name]) => `\`${name}\``).join(", ")}`,
  );
  return `What Demarc sends of its own accord. Release ${release}. At least once: a repeat has the same event id. Topics and the event stream keep the order of the log; queues do not, \`sequence\` restores it.

## Connecting

Open a WebSocket at \`/${label}/stomp\` (sub-protocols \`v12.stomp\`, \`v11.stomp\`, \`v10.stomp\`, or none), then send CONNECT or STOMP with \`accept-version\` and one credential: \`passcode\`, \`Authorization\` or \`x-api-key\`, as a header of CONNECT or, but for \`passcode\`, of the handshake. CONNECTED names \`version\`, \`session\`, \`heart-beat\` and \`api-version\`, and, where due, \`deprecation\` and \`sunset\`.

## Subscribing

SUBSCRIBE takes \`id\`, \`destination\`, \`ack\` (\`auto\`, \`client\`, \`client-individual\`), \`prefetch-count\` (1 to 1,000; 100), \`types\` (patterns, comma-separated), \`tenant\`, \`include-below:true\`, \`from\`, \`last-event-id\`, \`durable\`, \`replace:true\` and \`receipt\`. The RECEIPT precedes the first MESSAGE; from its \`cursor\` on nothing is missed. Destinations that do not exist and those that one may not hear are refused alike. SEND is refused.

## Going on

Store the \`cursor\` of each MESSAGE once its work is done, and give it as \`last-event-id\` next time. Or subscribe with \`durable:<name>\` and a client mode: the server remembers what was settled. Older than the log: \`position_expired\`, with \`oldest-cursor\`. The event stream goes on by the header \`Last-Event-ID\`.

## Closing

1000 after DISCONNECT, 1001 when the server goes down. Otherwise an ERROR frame with \`code\` comes first; the close code is that of its group:

${codes.join("\n")}
`;
}
