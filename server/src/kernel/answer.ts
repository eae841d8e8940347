/** How replies leave: serialised by their schema, so that nothing undeclared can; problems as RFC 9457. */
import { hash } from "node:crypto";
import fastJson from "fast-json-stringify";
import type { FastifyReply } from "fastify";
import type { TSchema } from "typebox";
import type { Visit } from "./door.ts";
import { internalError, Problem, type ProblemKind } from "./problem.ts";

const serializers = new WeakMap<object, (value: unknown) => string>();

/** The text of a value by its schema. Properties that the schema does not state are left out. */
export function serialise(schema: TSchema, value: unknown): string {
  let write = serializers.get(schema);
  if (!write) {
    write = fastJson(schema as Parameters<typeof fastJson>[0]) as (value: unknown) => string;
    serializers.set(schema, write);
  }
  return write(value);
}

/** The strong entity tag of a resource as the caller sees it at the newest version, whatever version is served. */
export function etagOf(schema: TSchema, value: unknown): string {
  return tagOf(serialise(schema, value));
}

export function tagOf(text: string): string {
  return `"${hash("sha256", text, "base64url").slice(0, 22)}"`;
}

/** The body of a problem. What is not expected shows its request id and nothing else. */
export function problemBody(error: Problem, requestId: string, instance: string): Record<string, unknown> {
  const { kind, refusal } = error;
  const detail = refusal.detail ?? kind.title;
  return {
    type: `/docs/error/${kind.code}`,
    title: kind.title,
    status: kind.status,
    detail,
    instance,
    code: kind.code,
    message: detail,
    requestId,
    ...(refusal.errors ? { errors: refusal.errors } : {}),
    ...refusal.members,
  };
}

export function sendProblem(reply: FastifyReply, visit: Visit, error: Problem, instance: string): void {
  visit.code = error.kind.code;
  if (error.refusal.headers) reply.headers(error.refusal.headers);
  reply.code(error.kind.status);
  reply.header("content-type", "application/problem+json");
  reply.send(JSON.stringify(problemBody(error, visit.requestId, instance)));
}

/** Problems that a route may answer besides its own, by status: what the documents list. */
export function problemsByStatus(kinds: readonly ProblemKind[]): Map<number, ProblemKind[]> {
  const byStatus = new Map<number, ProblemKind[]>();
  for (const kind of kinds) byStatus.set(kind.status, [...(byStatus.get(kind.status) ?? []), kind]);
  return byStatus;
}

export const unexpected = () =>
  new Problem(internalError, { detail: "Something went wrong on our side. Quote the request id." });
