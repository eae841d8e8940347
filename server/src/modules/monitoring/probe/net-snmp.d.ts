// The part of net-snmp 3.29 that the probe uses; the package brings no types of its own.
declare module "net-snmp" {
  import type { EventEmitter } from "node:events";

  export type Varbind = { oid: string; type: number; value: unknown };
  type Answer<T> = (error: Error | null, varbinds?: T[]) => void;

  export type User = {
    name: string;
    level: number;
    authProtocol?: number;
    authKey?: string;
    privProtocol?: number;
    privKey?: string;
  };

  export type SessionOptions = {
    version?: number;
    port: number;
    timeout: number;
    retries: number;
    context?: string;
    dgramModule: { createSocket(): unknown };
  };

  type Request = { responseCb: Answer<Varbind> };
  type Message = { msgGlobalData?: { msgFlags: number } };

  export type Session = EventEmitter & {
    get(oids: string[], answer: Answer<Varbind>): void;
    getNext(oids: string[], answer: Answer<Varbind>): void;
    getBulk(oids: string[], nonRepeaters: number, maxRepetitions: number, answer: Answer<Varbind[]>): void;
    close(): void;
    /** Not documented: called with every message of type Response that fits a request. */
    onSimpleGetResponse(request: Request, message: Message): void;
  };

  export function createSession(address: string, community: string, options: SessionOptions): Session;
  export function createV3Session(address: string, user: User, options: SessionOptions): Session;

  export const Version1: number;
  export const Version2c: number;
  export const SecurityLevel: Record<"noAuthNoPriv" | "authNoPriv" | "authPriv", number>;
  export const AuthProtocols: Record<"md5" | "sha" | "sha224" | "sha256" | "sha384" | "sha512", number>;
  export const PrivProtocols: Record<"des" | "aes" | "aes256b" | "aes256r", number>;
  export const ObjectType: Record<
    "Integer" | "OctetString" | "OID" | "Counter" | "Gauge" | "TimeTicks" | "Counter64",
    number
  >;
  export const ResponseInvalidCode: Record<
    "ECouldNotDecrypt" | "EAuthFailure" | "EUnexpectedReport" | "ENotInTimeWindow",
    number
  >;
  export function isVarbindError(varbind: Varbind): boolean;

  export class RequestTimedOutError extends Error {}
  export class RequestFailedError extends Error {
    status: number;
  }
  export class ResponseInvalidError extends Error {
    code: number;
  }

  type Engine = { engineID: Buffer; engineBoots: number; engineTime: number };

  export const Authentication: {
    authToKeyCache: Record<string, Buffer>;
    passwordToKey(authProtocol: number, passphrase: string, engineId: Buffer): Buffer;
  };

  export const Encryption: {
    algorithms: Record<
      number,
      {
        encryptPdu(
          pdu: Buffer,
          privProtocol: number,
          passphrase: string,
          authProtocol: number,
          engine: Engine,
        ): { encryptedPdu: Buffer; msgPrivacyParameters: Buffer };
        decryptPdu(
          pdu: Buffer,
          privProtocol: number,
          salt: Buffer,
          passphrase: string,
          authProtocol: number,
          engine: Engine,
        ): Buffer;
      }
    >;
  };
}
