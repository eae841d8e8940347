// Every way in which a session can fail: code, close code, one line for people. RFC 6455 section 7.4 for the numbers.
import { type Header, type OutFrame, share } from "./frame.ts";

const protocolError = 1002;
const badData = 1007;
const refusedByPolicy = 1008;
const tooBig = 1009;
const ourFault = 1011;
const tryLater = 1013;

/** The close code and the `message` of every fault. Messages need no escape in any version of STOMP. */
export const faults = {
  not_connected: [protocolError, "The first frame has to be CONNECT or STOMP"],
  already_connected: [protocolError, "This session is connected already"],
  unknown_command: [protocolError, "This version of STOMP has no such command"],
  version_not_supported: [protocolError, "No version of STOMP in common"],
  header_missing: [protocolError, "A header is missing"],
  header_invalid: [protocolError, "A header has a value that is not allowed"],
  header_conflict: [protocolError, "Two headers exclude each other"],
  header_reserved: [protocolError, "A header belongs to the server"],
  body_not_allowed: [protocolError, "Only SEND has a body"],
  subscription_open: [protocolError, "The subscription id is in use"],
  subscription_unknown: [protocolError, "No such subscription"],
  ack_unknown: [protocolError, "No unsettled message of this name"],
  transaction_open: [protocolError, "The transaction is open already"],
  transaction_unknown: [protocolError, "No such open transaction"],
  heart_beat_missed: [protocolError, "Nothing was heard for twice the time agreed"],
  frame_malformed: [badData, "The octets are no STOMP frame"],
  limit_exceeded: [tooBig, "A limit is exceeded"],
  internal_error: [ourFault, "The server failed"],
  sessions_full: [tryLater, "No further session is possible now"],
  authentication_failed: [refusedByPolicy, "Authentication failed"],
  login_timeout: [refusedByPolicy, "The log-in took too long"],
  permission_missing: [refusedByPolicy, "A permission is missing"],
  tenant_suspended: [refusedByPolicy, "The tenant is suspended"],
  api_not_enabled: [refusedByPolicy, "The API is not switched on for this tenant"],
  service_not_enabled: [refusedByPolicy, "The service is not switched on for this tenant"],
  version_unknown: [refusedByPolicy, "No such version of the API"],
  token_expired: [refusedByPolicy, "The access token has expired"],
  session_ended: [refusedByPolicy, "The session was ended"],
  destination_not_available: [refusedByPolicy, "The destination is not available"],
  send_refused: [refusedByPolicy, "SEND is not possible here"],
  cursor_unknown: [refusedByPolicy, "No such place in the log"],
  position_expired: [refusedByPolicy, "The log no longer reaches back to this place"],
  durable_differs: [refusedByPolicy, "The durable subscription was made with another destination or other filters"],
  ack_mode_required: [refusedByPolicy, "A durable subscription needs ack client or client-individual"],
  taken_over: [refusedByPolicy, "Another session has taken over the durable subscription"],
  slow_consumer: [refusedByPolicy, "The client does not read what it is sent"],
} as const satisfies Record<string, readonly [closeCode: number, message: string]>;

export type FaultCode = keyof typeof faults;

/**
 * Why a frame is refused or a session ends. `detail` is for people and never repeats what the client sent; `headers`
 * go into the ERROR as they are (`version`, `oldest-cursor`).
 */
export type Refusal = { code: FaultCode; detail?: string; headers?: readonly Header[] };

export function refuse(code: FaultCode, detail?: string): Refusal {
  return detail === undefined ? { code } : { code, detail };
}

/** The ERROR frame of a refusal; `receipt` is that of the faulting frame, if it asked for one. */
export function errorFrame(
  { code, detail, headers = [] }: Refusal,
  receipt: string | null,
  requestId: string,
): OutFrame {
  const message = faults[code][1];
  const body = JSON.stringify({ code, detail: detail ?? `${message}.`, requestId });
  return {
    kind: "frame",
    command: "ERROR",
    headers: [
      ["message", message],
      ["code", code],
      ...(receipt === null ? [] : [["receipt-id", receipt] as const]),
      ...headers,
    ],
    rest: share([["content-type", "application/problem+json"]], Buffer.from(body)),
  };
}
