/**
 * Cursors of the event log: opaque names of places between two events, good in every channel and version. A cursor holds
 * the log's epoch, the position of the event before the place, and a seal over these and the tenant it was given to.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { problem, refuse } from "./problem.ts";

/**
 * The place just after the event of a position. No event after it was logged before `day` (days since 1970), so that
 * older partitions need not be looked at.
 */
export type Place = { epoch: number; position: number; day: number };

export const cursorUnknown = problem("cursor_unknown", 400, "This cursor is not one of this event log and tenant.");
export const positionExpired = problem("position_expired", 410, "The event log no longer keeps this place.");

const form = 1;
const placeBytes = 13;
const sealBytes = 11;
const cursorForm = /^[A-Za-z0-9_-]{32}$/;

export type Cursors = ReturnType<typeof createCursors>;

/** Cursors sealed by the key of an installation's log. */
export function createCursors(key: Buffer) {
  const sealOf = (place: Buffer, tenantId: string) =>
    createHmac("sha256", key).update(place).update(tenantId).digest().subarray(0, sealBytes);

  return {
    /** Names a place for those who act in a tenant: 32 characters of `[A-Za-z0-9_-]`. */
    write({ epoch, position, day }: Place, tenantId: string): string {
      const place = Buffer.alloc(placeBytes);
      place.writeUInt8(form, 0);
      place.writeUInt32BE(epoch, 1);
      place.writeUIntBE(position, 5, 6);
      place.writeUInt16BE(day, 11);
      return Buffer.concat([place, sealOf(place, tenantId)]).toString("base64url");
    },
    /** The place that a cursor names. Throws `cursor_unknown` for one that was not given out to this tenant. */
    read(cursor: string, tenantId: string, parameter = "cursor"): Place {
      const bytes = cursorForm.test(cursor) ? Buffer.from(cursor, "base64url") : Buffer.alloc(0);
      const place = bytes.subarray(0, placeBytes);
      const known =
        bytes.length === placeBytes + sealBytes &&
        timingSafeEqual(bytes.subarray(placeBytes), sealOf(place, tenantId)) &&
        place[0] === form;
      if (!known) throw unknownPlace(parameter);
      return { epoch: place.readUInt32BE(1), position: place.readUIntBE(5, 6), day: place.readUInt16BE(11) };
    },
  };
}

/** The refusal of a place that is not known to the caller, in one wording for all reasons. */
export function unknownPlace(parameter: string) {
  const message = "This does not name a place in the event log of this tenant.";
  return refuse(cursorUnknown, { detail: message, errors: [{ parameter, rule: "not_found", message }] });
}

/** Days since 1970 of an instant. */
export function dayOf(at: Date): number {
  return Math.max(0, Math.floor(at.getTime() / 86_400_000));
}
