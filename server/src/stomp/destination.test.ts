import assert from "node:assert/strict";
import { test } from "node:test";
import { compileChatPatterns, parseDestination } from "./destination.ts";

const chat = compileChatPatterns(["/topic/*", "/queue/*"]);
const events = { kind: "events", label: null, service: null, noun: null, resource: null };

test("each destination of the grammar means what it says", () => {
  const meanings: [string, object][] = [
    ["/topic/event", events],
    ["/topic/v12/event", { ...events, label: "v12" }],
    ["/topic/event/directory", { ...events, service: "directory" }],
    ["/topic/event/directory.user", { ...events, service: "directory", noun: "user" }],
    ["/topic/v1/event/a.b/x.y-Z_9", { kind: "events", label: "v1", service: "a", noun: "b", resource: "x.y-Z_9" }],
    ["/queue/jobs", { kind: "queue", label: null, name: "jobs", isChat: false }],
    ["/queue/v2/a.b", { kind: "queue", label: "v2", name: "a.b", isChat: false }],
    ["/user/queue/operation", { kind: "operations", label: null }],
    ["/user/queue/v1/operation", { kind: "operations", label: "v1" }],
    ["/user/queue/session", { kind: "session" }],
  ];
  for (const [text, meaning] of meanings) assert.deepEqual(parseDestination(text, null), meaning, text);
});

test("whatever differs by an octet means nothing: no wildcard, no folding, no trailing slash", () => {
  const none = [
    ...["", "/", "topic/event", "/topic/event/", "/topic//event", "/topic/event/*", "/topic/event/directory/usr_1"],
    ...["/topic/event/a.b.c", "/topic/event/.b", "/topic/event/a.", "/Topic/event", "/topic/event ", " /topic/event"],
    ...["/topic/v0/event", "/topic/v01/event", "/topic/V1/event", "/topic/latest/event", "/topic/beta/event"],
    ...["/topic/%65vent", "/topic/./event", "/topic/x/../event", "/topic/event\n", "/topic/event\0", "/topic/évent"],
    ...["/queue/", "/queue/a/b/c", "/queue/a b", "/user/queue/v1/session", "/user/queue/operations", "/topic/event/é"],
    `/queue/${"a".repeat(249)}`,
  ];
  for (const text of none) assert.equal(parseDestination(text, null), null, JSON.stringify(text));
  assert.notEqual(parseDestination(`/queue/${"a".repeat(248)}`, null), null);
});

test("chat has what its patterns admit, but never an event topic or a version label", () => {
  assert.deepEqual(parseDestination("/topic/a b/ü:*", chat), { kind: "chatTopic", name: "a b/ü:*" });
  assert.deepEqual(parseDestination("/queue/a", chat), { kind: "queue", label: null, name: "a", isChat: true });
  assert.deepEqual(parseDestination("/queue/a/b", chat), { kind: "queue", label: null, name: "a/b", isChat: true });
  assert.deepEqual(parseDestination("/topic/event", chat), events);
  for (const text of [
    "/topic/event/",
    "/topic/v1/x",
    "/topic/latest/x",
    "/topic/beta",
    "/topic/",
    "/other/a",
    "/topic/a\nb",
  ])
    assert.equal(parseDestination(text, chat), null, JSON.stringify(text));
  for (const text of ["/queue/v1/a", "/queue/event"]) {
    const destination = parseDestination(text, chat);
    assert.equal(destination?.kind === "queue" && destination.isChat, false, text);
  }
});

test("a chat pattern is literal but for its stars", () => {
  const pattern = compileChatPatterns(["/topic/a.b(*)-end", "/queue/exact"]);
  assert.notEqual(parseDestination("/topic/a.b(x/y)-end", pattern), null);
  assert.equal(parseDestination("/topic/aXb(x)-end", pattern), null);
  assert.equal(parseDestination("/topic/a.b(x)-end!", pattern), null);
  assert.deepEqual(parseDestination("/queue/exact", pattern), {
    kind: "queue",
    label: null,
    name: "exact",
    isChat: true,
  });
  assert.deepEqual(parseDestination("/queue/other", pattern), {
    kind: "queue",
    label: null,
    name: "other",
    isChat: false,
  });
});
