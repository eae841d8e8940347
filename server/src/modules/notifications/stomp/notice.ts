/** Notices about a session itself: CloudEvents that stand in no log. */
import { newId } from "#kernel/ids";
import type { Kernel } from "#kernel/kernel";
import type { Version } from "#kernel/versions";
import type { Delivery, Notice } from "../../../stomp/contract.ts";
import { share } from "../../../stomp/frame.ts";

const texts: Record<Notice, string> = {
  "token.expiring":
    "The credential ends within a minute. Fetch another, connect again, and go on by cursor or durable.",
  "version.deprecated": "This version of the API is deprecated.",
};

export function noticeOf(
  kernel: Kernel,
  notice: Notice,
  session: { id: string; version: Version; tenantId: string },
): Delivery {
  const now = kernel.now();
  const eventId = newId("evt", now.getTime());
  const { deprecatedAt = null, sunsetAt = null, label } = session.version;
  const event = {
    specversion: "1.0",
    id: eventId,
    source: `${kernel.settings.publicUrl}/notifications`,
    type: notice,
    subject: session.id,
    time: now.toISOString(),
    datacontenttype: "application/json",
    tenantid: session.tenantId,
    apiversion: label,
    data: notice === "token.expiring" ? { message: texts[notice] } : { message: texts[notice], deprecatedAt, sunsetAt },
  };
  const headers = [
    ["content-type", "application/cloudevents+json;charset=utf-8"],
    ["event-id", eventId],
    ["event-type", notice],
  ] as const;
  return { position: 0, eventId, deliveries: 1, shared: share(headers, Buffer.from(JSON.stringify(event))) };
}
