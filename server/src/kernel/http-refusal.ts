/** What is refused before any route of ours hears of it: by Fastify, and by Node's parser of HTTP. */
import type { Socket } from "node:net";
import type { FastifyError, FastifyInstance } from "fastify";
import {
  badRequest,
  bodyTooLarge,
  headersTooLarge,
  mediaTypeNotSupported,
  Problem,
  refuse,
  requestTimedOut,
} from "./problem.ts";

/** What Fastify itself refuses, in our words; undefined for bugs. */
export function expected(error: Error): Problem | undefined {
  if (error instanceof Problem) return error;
  const code = (error as FastifyError).code;
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return refuse(bodyTooLarge);
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE")
    return refuse(mediaTypeNotSupported, { detail: "Send application/json." });
  const status = (error as FastifyError).statusCode;
  // ECONNRESET with a status: the caller went away in the middle of its body.
  if ((code?.startsWith("FST_ERR_") || code === "ECONNRESET") && status && status >= 400 && status < 500)
    return refuse(badRequest, { detail: error.message });
  return undefined;
}

/** Bytes that are no HTTP request: answered on the bare socket, once. */
export function answerGarbage(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
  const kind =
    error.code === "HPE_HEADER_OVERFLOW"
      ? headersTooLarge
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? requestTimedOut
        : badRequest;
  const body = JSON.stringify({
    type: `/docs/error/${kind.code}`,
    title: kind.title,
    status: kind.status,
    detail: kind.title,
    code: kind.code,
    message: kind.title,
  });
  socket.end(
    `HTTP/1.1 ${kind.status} ${kind.title.replaceAll(/[^ -~]/g, "")}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
