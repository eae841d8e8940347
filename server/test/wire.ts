/**
 * DO-3: every event that a test sees, by whichever channel, is held against the AsyncAPI document of its version, as a
 * client gets it. What is wrong fails the test file at its end.
 */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { modules } from "../src/app.ts";
import { asyncapiDocument } from "../src/kernel/asyncapi.ts";
import type { Kernel } from "../src/kernel/kernel.ts";
import { changes, createVersions, released } from "../src/kernel/versions.ts";

type Source = Pick<Kernel, "versions"> & { settings: Pick<Kernel["settings"], "release"> };
type Headers = Record<string, string>;
/** The channel: headers of a MESSAGE or of a webhook's call, or fields of the event stream. */
type How = { message?: Headers; webhook?: Headers; stream?: { id?: string; event?: string } };
type Seen = { id: string; type: string; source: string; apiversion: string; test?: true };
type Document = any;

/** What a server of this process is known by in its events; events of others are of the release as it stands. */
const servers = new Map<string, Source>();
const release: Source = { versions: createVersions(released, changes, true, modules), settings: { release: "0" } };
export function knowServer(publicUrl: string, source: Source): void {
  servers.set(publicUrl, source);
}

const faults = new Set<string>();
/** Fails when something that was seen does not match its document: for the end of a test file. */
export function checkWire(): void {
  const found = [...faults];
  faults.clear();
  assert.deepEqual(found, [], "something that was sent does not match its AsyncAPI document");
}

const read = new WeakMap<object, Map<string, { document: Document; ajv: Ajv2020 }>>();
function documentOf(source: Source, label: string) {
  const known = read.get(source.versions) ?? new Map();
  read.set(source.versions, known);
  if (!known.has(label)) {
    const document = JSON.parse(JSON.stringify(asyncapiDocument(source, label) ?? null));
    // `strict` is for writing schemas; here they are read.
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    (addFormats as unknown as (target: Ajv2020) => void)(ajv);
    if (document) ajv.addSchema(document, "news");
    known.set(label, { document, ajv });
  }
  return known.get(label)!;
}

/** What is wrong with an event by the AsyncAPI document of its version. */
export function faultsOfEvent(source: Source, event: { type: string; apiversion: string }): string[] {
  const { document, ajv } = documentOf(source, event.apiversion);
  if (!document?.components.messages[event.type]) return [`${event.type} stands in no document of ${event.apiversion}`];
  const validate = ajv.getSchema(`news#/components/messages/${event.type}/payload`)!;
  return validate(event) ? [] : [`${event.type} ${event.apiversion}: ${ajv.errorsText(validate.errors)}`];
}

/** Holds what came by a channel against the documents. */
export function sawEvent(text: string, how: How): void {
  const event = JSON.parse(text) as Seen;
  const source = servers.get(event.source.replace(/\/[a-z]+$/, "")) ?? release;
  for (const fault of faultsOfEvent(source, event)) faults.add(fault);
  const expect = (isRight: unknown, what: string) => isRight || faults.add(`${event.type}: ${what}`);
  if (how.message) checkMessage(source, event, how.message, expect);
  if (how.stream) {
    expect(how.stream.event === event.type, `is told as ${how.stream.event} by the event stream`);
    expect(/^[A-Za-z0-9_-]{1,64}$/.test(how.stream.id ?? ""), "has no cursor in the event stream");
  }
  if (how.webhook) {
    expect(how.webhook["content-type"] === "application/cloudevents+json; charset=utf-8", "has another media type");
    const id = how.webhook["webhook-id"] ?? "";
    expect(event.test ? id.startsWith("test_") : id === event.id, `has the webhook-id ${id}`);
    for (const name of ["webhook-timestamp", "webhook-signature"]) expect(how.webhook[name], `has no ${name}`);
  }
}

function checkMessage(
  source: Source,
  event: Seen,
  headers: Headers,
  expect: (isRight: unknown, what: string) => void,
): void {
  const { document, ajv } = documentOf(source, event.apiversion);
  const message = document?.components.messages[event.type];
  if (!message) return;
  const validate = ajv.getSchema(`news#/components/messages/${event.type}/headers`)!;
  expect(validate(headers), `headers: ${ajv.errorsText(validate.errors)}`);
  const stated = message.headers.$ref ? document.components.schemas.MessageHeaders : message.headers;
  for (const name of Object.keys(headers)) expect(name in stated.properties, `the header ${name} is not declared`);
  expect(headers["event-id"] === event.id && headers["event-type"] === event.type, "headers name another event");
  // Without a label in it, a destination stands in the document of `latest`.
  const channels = [document, documentOf(source, "latest").document].flatMap(({ channels: all }: Document) =>
    Object.values<Document>(all),
  );
  const fits = ({ address, messages }: Document) =>
    address &&
    event.type in messages &&
    new RegExp(`^${address.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(headers.destination!);
  expect(channels.some(fits), `no channel has the destination ${headers.destination}`);
}
