import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import {
  Authentication,
  AuthProtocols,
  createSession,
  createV3Session,
  PrivProtocols,
  RequestFailedError,
  RequestTimedOutError,
  ResponseInvalidCode,
  ResponseInvalidError,
  SecurityLevel,
  type Session,
  type User,
  type Varbind,
  Version1,
  Version2c,
} from "net-snmp";
import { repairDes } from "./snmp-des.ts";

/** How to speak to the device, secrets opened: section 2.7 of the specification, complete for its version and level. */
export type SnmpSettings = {
  version: "v1" | "v2c" | "v3";
  port: number;
  community?: string;
  userName?: string;
  securityLevel?: "noAuthNoPriv" | "authNoPriv" | "authPriv";
  authProtocol?: "MD5" | "SHA" | "SHA-224" | "SHA-256" | "SHA-384" | "SHA-512";
  authPassphrase?: string;
  privProtocol?: "DES" | "AES-128" | "AES-256" | "AES-256-C";
  privPassphrase?: string;
  contextName?: string | null;
};

export type SnmpFailureReason =
  | "snmp_timeout"
  | "snmp_auth_failed"
  | "snmp_unknown_user"
  | "snmp_privacy_failed"
  | "snmp_level_refused"
  | "snmp_no_view"
  | "deadline";

/** Why the device could not be read. The message is for the caller and holds neither secrets nor the device's words. */
export class SnmpFailure extends Error {
  readonly reason: SnmpFailureReason;

  constructor(reason: SnmpFailureReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** `refused`: the device answered with an error status (RFC 3416 section 3), or with values that fit no request. */
export type SnmpAnswer = { outcome: "answered"; varbinds: Varbind[] } | { outcome: "refused"; errorStatus: number };

export type SnmpSession = {
  get(oids: readonly string[]): Promise<SnmpAnswer>;
  /** What follows `oid`: up to 20 varbinds by GETBULK, one by GETNEXT on v1. */
  next(oid: string): Promise<SnmpAnswer>;
  /** Whether anything at all came from the device's address and port. */
  heard(): boolean;
  close(): void;
};

const repetitions = 20;
const generalError = 5;

// A device may answer every v3 message with a report that makes net-snmp ask again at once, without end. No honest
// exchange needs more datagrams than this between two answers: three columns in parallel, three sends and a resend each.
const datagramsPerAnswer = 30;

const authProtocols = {
  MD5: AuthProtocols.md5,
  SHA: AuthProtocols.sha,
  "SHA-224": AuthProtocols.sha224,
  "SHA-256": AuthProtocols.sha256,
  "SHA-384": AuthProtocols.sha384,
  "SHA-512": AuthProtocols.sha512,
};

// aes256b stretches the key as draft-blumenthal-aes-usm says, aes256r as draft-reeder-snmpv3-usm-3desede (Cisco) does.
const privProtocols = {
  DES: PrivProtocols.des,
  "AES-128": PrivProtocols.aes,
  "AES-256": PrivProtocols.aes256b,
  "AES-256-C": PrivProtocols.aes256r,
};

const messages = {
  snmp_auth_failed: "The device refused the authentication: protocol or passphrase do not fit this user.",
  snmp_unknown_user: "The device does not know this user.",
  snmp_privacy_failed: "The encryption cannot be read: privacy protocol or passphrase do not fit this user.",
  snmp_level_refused: "The device does not serve this user at this security level.",
  snmp_no_view: "The device shows this user or community, in this context, neither system group nor interfaces.",
};

// net-snmp gives the USM reports (RFC 3414 section 3.2) one code and different texts; those not named here, digest,
// time window and engine id, are the authentication module's.
const reportReasons: Record<string, keyof typeof messages> = {
  "Unsupported Security Level": "snmp_level_refused",
  "Unknown User Name": "snmp_unknown_user",
  "Decryption Error": "snmp_privacy_failed",
};

/** The failure with its standing message. */
export function snmpFailure(reason: keyof typeof messages): SnmpFailure {
  return new SnmpFailure(reason, messages[reason]);
}

repairDes();

function required<T>(value: T | null | undefined, name: string): T {
  // net-snmp would put "public" for a missing community and zero bytes for a missing passphrase.
  if (value === undefined || value === null || value === "") throw new TypeError(`SNMP settings lack ${name}.`);
  return value;
}

function readUser(settings: SnmpSettings): User {
  const level = required(settings.securityLevel, "securityLevel");
  const user: User = { name: required(settings.userName, "userName"), level: SecurityLevel[level] };
  if (level === "noAuthNoPriv") return user;
  user.authProtocol = authProtocols[required(settings.authProtocol, "authProtocol")];
  user.authKey = required(settings.authPassphrase, "authPassphrase");
  if (level === "authNoPriv") return user;
  user.privProtocol = privProtocols[required(settings.privProtocol, "privProtocol")];
  user.privKey = required(settings.privPassphrase, "privPassphrase");
  return user;
}

/** A socket that takes datagrams from this address and port only: the kernel checks, for net-snmp looks at no source. */
async function connectSocket(address: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  // ICMP errors end nothing: anybody can forge them, and a device that is not there is silent as well.
  socket.on("error", () => {});
  try {
    socket.connect(port, address);
    await once(socket, "connect", { signal });
    return socket;
  } catch (error) {
    socket.close();
    if ((error as NodeJS.ErrnoException).syscall)
      throw new SnmpFailure("snmp_timeout", "There is no route from here to the device.");
    throw error;
  }
}

/** The part of `dgram` that net-snmp uses, on our connected socket. */
function overConnected(socket: Socket, wire: { send(datagram: Buffer): void; unreadable(): void }) {
  let closed = () => {};
  const listeners: Record<string, (listener: (datagram?: Buffer) => void) => void> = {
    message: (receive) => {
      socket.on("message", (datagram) => {
        // A hostile answer makes net-snmp throw (a digest in reply to a user without authentication, for one); in a
        // listener that would end the process.
        try {
          receive(datagram);
        } catch {
          wire.unreadable();
        }
      });
    },
    close: (listener) => {
      closed = listener;
    },
  };
  return {
    createSocket: () => ({
      on: (event: string, listener: (datagram?: Buffer) => void) => listeners[event]?.(listener),
      send: (
        datagram: Buffer,
        _at: number,
        _length: number,
        _port: number,
        _to: string,
        sent: (error: null) => void,
      ) => {
        wire.send(datagram);
        // At once, so that no time-out is started after the session has been closed.
        sent(null);
      },
      close: () => {
        socket.close();
        closed();
      },
      ref: () => {},
      unref: () => {},
    }),
  };
}

function describeSilence(version: SnmpSettings["version"], heard: boolean): string {
  if (version !== "v3") return "The device did not answer. A wrong community looks the same: devices do not answer it.";
  return heard
    ? "The device gave its SNMP engine id, but did not answer the request."
    : "The device did not answer on this port.";
}

/** What an error of net-snmp means: an answer that refuses, else thrown as the failure it is. */
function readError(error: unknown, version: SnmpSettings["version"], heard: boolean): SnmpAnswer {
  if (error instanceof SnmpFailure) throw error;
  if (error instanceof RequestFailedError) return { outcome: "refused", errorStatus: error.status };
  if (error instanceof RequestTimedOutError) throw new SnmpFailure("snmp_timeout", describeSilence(version, heard));
  if (error instanceof ResponseInvalidError) {
    if (error.code === ResponseInvalidCode.ECouldNotDecrypt) throw snmpFailure("snmp_privacy_failed");
    if (error.code === ResponseInvalidCode.ENotInTimeWindow) throw snmpFailure("snmp_auth_failed");
    if (error.code === ResponseInvalidCode.EAuthFailure)
      throw snmpFailure(reportReasons[error.message] ?? "snmp_auth_failed");
    // A report that is not USM's: unknown or unavailable context, RFC 3413 section 3.2.
    if (error.code === ResponseInvalidCode.EUnexpectedReport) throw snmpFailure("snmp_no_view");
  }
  // Anything else is the device's doing once it was heard. The error itself is not passed on: net-snmp's texts quote
  // the community, and its errors carry the user with the passphrases.
  if (heard) return { outcome: "refused", errorStatus: generalError };
  throw new Error("The SNMP request could not be built or sent.");
}

/**
 * Refuses a response at another security level than the request's, RFC 3412 section 7.2. net-snmp checks the digest
 * only of a message that claims to have one, so a response in clear would pass for any user.
 */
function requireLevel(session: Session, user: User): void {
  const flags = user.level === SecurityLevel.authPriv ? 3 : user.level === SecurityLevel.authNoPriv ? 1 : 0;
  const accept = session.onSimpleGetResponse;
  session.onSimpleGetResponse = (request, message) => {
    if (((message.msgGlobalData?.msgFlags ?? 0) & 3) === flags) accept(request, message);
    else
      request.responseCb(
        new SnmpFailure("snmp_auth_failed", "The device answered without the authentication or encryption asked for."),
      );
  };
}

/**
 * Opens a session to `address` (numeric); time-out and retries count for each request. A request throws `SnmpFailure`,
 * or the reason of `signal` once that is aborted. The caller closes the session.
 */
export async function openSnmpSession(
  address: string,
  settings: SnmpSettings,
  signal: AbortSignal,
  limits: { timeoutMs: number; retries: number },
): Promise<SnmpSession> {
  const { version, port } = settings;
  const user = version === "v3" ? readUser(settings) : null;
  const community = user ? "" : required(settings.community, "community");
  const socket = await connectSocket(address, port, signal);
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  let heard = false;
  let sinceAnswer = 0;

  socket.on("message", () => {
    heard = true;
  });
  const dgramModule = overConnected(socket, {
    send: (datagram) => {
      if (++sinceAnswer <= datagramsPerAnswer) socket.send(datagram);
    },
    unreadable: () =>
      ended.reject(new SnmpFailure("snmp_timeout", "The device answered, but not with a valid SNMP message.")),
  });
  const context = settings.contextName ?? "";
  const options = { port, timeout: limits.timeoutMs, retries: limits.retries, context, dgramModule };
  const session = user
    ? createV3Session(address, user, options)
    : createSession(address, community, { ...options, version: version === "v1" ? Version1 : Version2c });
  // A datagram that is no SNMP message: net-snmp says so and goes on waiting, as it should.
  session.on("error", () => {});
  if (user) requireLevel(session, user);
  const stop = () => ended.reject(signal.reason);
  signal.addEventListener("abort", stop);

  async function ask(send: (settle: (error: Error | null, varbinds?: unknown[]) => void) => void): Promise<SnmpAnswer> {
    const reply = Promise.withResolvers<unknown[]>();
    send((error, varbinds) => (error ? reply.reject(error) : reply.resolve(varbinds ?? [])));
    const answer = reply.promise.then(
      // GETBULK gives one list for each object asked for, and only one is ever asked for.
      (found): SnmpAnswer => ({ outcome: "answered", varbinds: found.flat() as Varbind[] }),
      (error) => readError(error, version, heard),
    );
    const settled = await Promise.race([ended.promise, answer]);
    sinceAnswer = 0;
    return settled;
  }

  return {
    get: (oids) => ask((settle) => session.get([...oids], settle)),
    next: (oid) =>
      ask((settle) =>
        version === "v1" ? session.getNext([oid], settle) : session.getBulk([oid], 0, repetitions, settle),
      ),
    heard: () => heard,
    close: () => {
      signal.removeEventListener("abort", stop);
      session.close();
      // net-snmp keeps every passphrase and its key for the life of the process.
      Authentication.authToKeyCache = {};
    },
  };
}
