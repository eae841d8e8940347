import { event } from "#kernel/events";
import { Session } from "./schema.ts";

export const sessionEnded = event("access", "session.ended", {
  permission: "session.read",
  summary: "Somebody ended a log-in at the pages, with the grants that live by it.",
  resource: Session,
});
