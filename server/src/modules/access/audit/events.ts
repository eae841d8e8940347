import { event } from "#kernel/events";
import { AuditHead } from "./schema.ts";

export const auditHeadSigned = event("access", "audit.head_signed", {
  permission: "audit.read",
  summary:
    "The end of a tenant's audit chain was signed. A copy kept elsewhere exposes a rewritten or shortened chain.",
  resource: AuditHead,
});
