import { Type } from "typebox";
import { route } from "#kernel/contract";
import { credentialThrottled, quotaExceeded, unauthenticated } from "#kernel/problem";
import { originRefused, refusePlainCall, upgradeRequired } from "./handshake.ts";

/** The handshake itself comes as an upgrade and is judged in `handshake.ts`; this is its place in the documents. */
export const connectStomp = route({
  method: "GET",
  path: "/stomp",
  versions: "v1+",
  id: "connectStomp",
  summary: "Open a STOMP session",
  description:
    "A WebSocket handshake (RFC 6455); the sub-protocols are `v12.stomp`, `v11.stomp`, `v10.stomp`. The credential of the session comes in the headers of the handshake or in the CONNECT frame, never in the address, and needs `notification.subscribe`. One call of the usage plan, whatever is sent afterwards. What is not an upgrade is 426.",
  permission: "open",
  // Nothing is known here: what stands there is judged by its name, as that of a handshake is.
  query: Type.Object({}, { additionalProperties: true }),
  replies: { 101: null },
  problems: [upgradeRequired, unauthenticated, originRefused, credentialThrottled, quotaExceeded],
  run: ({ call }) => refusePlainCall(call.search),
});
