// What a route refuses, as its documents and the pages of problems say it.
import type { TSchema } from "typebox";
import { problemsByStatus } from "./answer.ts";
import type { Route } from "./contract.ts";
import type { Json } from "./document-components.ts";
import { isWrite } from "./door.ts";
import { idempotencyInProgress, idempotencyKeyInvalid, idempotencyKeyReused } from "./idempotency.ts";
import type { Parts, Source } from "./openapi.ts";
import type { ProblemKind } from "./problem.ts";
import * as problems from "./problem.ts";

/** Documents that are not open to all here. */
export const isClosed = ({ settings }: Pick<Source, "settings">, { isDocument }: Route) =>
  isDocument === true && settings.docsAccess === "signed-in";

/** Every problem that a route may answer: the front door's and its own. */
export function problemsOf(source: Pick<Source, "settings">, route: Route): ProblemKind[] {
  const write = isWrite(route);
  const open = route.permission === "open";
  const kinds: ProblemKind[] = [
    problems.validationFailed,
    problems.badRequest,
    problems.notFound,
    problems.versionUnknown,
    problems.versionRetired,
  ];
  if (!open) {
    kinds.push(
      problems.unauthenticated,
      problems.permissionMissing,
      problems.scopeMissing,
      problems.apiNotEnabled,
      problems.serviceNotEnabled,
      problems.tenantSuspended,
    );
    kinds.push(problems.credentialThrottled, problems.quotaExceeded);
    if (write) kinds.push(problems.keyReadOnly, idempotencyKeyInvalid, idempotencyInProgress, idempotencyKeyReused);
  }
  if (isClosed(source, route)) kinds.push(problems.unauthenticated, problems.credentialThrottled);
  kinds.push(
    problems.rateLimited,
    problems.requestTimedOut,
    problems.headersTooLarge,
    problems.internalError,
    problems.unavailable,
  );
  if (route.body) kinds.push(problems.bodyTooLarge, problems.mediaTypeNotSupported);
  if (["PATCH", "PUT", "DELETE"].includes(route.method)) kinds.push(problems.stale);
  kinds.push(...(route.problems ?? []));
  return kinds;
}

export function refusals({ source, components, headers, isDeprecated }: Parts, route: Route): Json {
  const replies: Json = {};
  for (const [status, list] of [...problemsByStatus(problemsOf(source, route))].sort(([a], [b]) => a - b)) {
    replies[status] = {
      description: [...new Set(list.map(({ code, title }) => `\`${code}\`: ${title}`))].join("\n\n"),
      "x-codes": [...new Set(list.map(({ code }) => code))],
      headers: headers.of({
        route,
        status,
        isDeprecated: isDeprecated || route.deprecated !== undefined,
        isClosed: isClosed(source, route),
      }),
      content: { "application/problem+json": { schema: components.put(problemSchema) } },
    };
  }
  return replies;
}

/** RFC 9457 with our members; some problems add members of their own. */
const problemSchema = {
  title: "Problem",
  type: "object",
  required: ["type", "title", "status", "detail", "code", "message"],
  properties: {
    type: { type: "string", description: "Page of this kind of problem." },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    instance: { type: "string" },
    code: { type: "string", description: "Stable name of the condition." },
    message: { type: "string", description: "The same as detail." },
    requestId: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["rule", "message"],
        properties: {
          pointer: { type: "string", description: "Place in the body (RFC 6901)." },
          parameter: { type: "string", description: "Query parameter or header." },
          rule: { type: "string" },
          message: { type: "string" },
          hint: { type: "string", description: "What was probably meant." },
        },
      },
    },
  },
} as unknown as TSchema;
