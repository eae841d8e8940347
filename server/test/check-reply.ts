import assert from "node:assert/strict";
import type { Route } from "../src/kernel/contract.ts";
import { routeTable } from "../src/kernel/http.ts";
import type { Kernel } from "../src/kernel/kernel.ts";
import { declaredProblems } from "../src/kernel/problem.ts";
import { faultsOf } from "../src/kernel/validate.ts";
import type { Answer } from "./harness.ts";
import { faultsOfEvent } from "./wire.ts";

const patterns = new WeakMap<Kernel, { route: Route; pattern: RegExp }[]>();

/** The routes with what their paths match; made once per server, as every reply of every test asks. */
function patternsOf(kernel: Kernel) {
  let made = patterns.get(kernel);
  if (!made) {
    made = routeTable(kernel).map(({ route }) => ({
      route,
      pattern: new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
    }));
    patterns.set(kernel, made);
  }
  return made;
}

/**
 * Fails the test when a reply is not what its route declares: status, schema, problem form. A problem's code must be
 * declared, and belong to the route or to the front door.
 */
export function checkReply(kernel: Kernel, method: string, path: string, answer: Answer): void {
  assert.ok(answer.headers.get("x-request-id"), `${method} ${path}: every reply carries X-Request-Id`);
  const { status, body } = answer;
  const contentType = answer.headers.get("content-type") ?? "";
  if (contentType.startsWith("application/problem+json") && method !== "HEAD") {
    const kind = declaredProblems().find((one) => one.code === body.code && one.status === status);
    assert.ok(kind, `${method} ${path}: the code ${body.code} is not declared with status ${status}`);
    assert.equal(body.status, status);
    assert.equal(body.message, body.detail);
    assert.ok(body.requestId && body.title && body.type);
    assert.notEqual(body.code, "internal_error", `${method} ${path}: answered 500`);
    return;
  }
  const [, label = "", rest = ""] = /^\/([^/]+)(\/[^?]*)/.exec(path) ?? [];
  const resolved = kernel.versions.resolve(label);
  if (!resolved) return;
  const routes = patternsOf(kernel).filter(
    ({ route, pattern }) =>
      route.method === (method === "HEAD" ? "GET" : method) &&
      kernel.versions.covers(route.versions, resolved.version.label) &&
      pattern.test(rest),
  );
  const { route } = routes.find(({ route: candidate }) => !candidate.path.includes("{")) ?? routes[0] ?? {};
  if (!route || status === 304 || method === "HEAD") return;
  const replies = route.replies as Record<number, object | null>;
  assert.ok(status in replies, `${route.id}: the status ${status} is not declared`);
  const schema = replies[status];
  if (!schema || /[?&]fields=/.test(path) || !/[/+]json/.test(contentType) || answer.text === "") return;
  const faults = faultsOf(
    kernel.versions.replySchema(schema as never, resolved.version.label, { id: route.id, status }),
    body,
  );
  assert.deepEqual(faults, [], `${route.id}: the reply does not match its schema`);
  const events = route.id === "listEventLog" ? body.items : route.id === "getEventLogEntry" ? [body] : [];
  for (const event of events) assert.deepEqual(faultsOfEvent(kernel, event), [], route.id);
}
