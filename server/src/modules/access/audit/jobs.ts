import type { JobKind } from "#kernel/jobs";
import { signNewHeads } from "./head.ts";
import { cutChains } from "./retention.ts";

export const auditJobs: readonly JobKind[] = [
  {
    name: "sign_audit_heads",
    summary: "Signs the end of every audit chain that has grown, and at midnight UTC of every other one.",
    cron: "*/5 * * * *",
    run: signNewHeads,
  },
  {
    name: "cut_audit",
    summary: "Removes months of the audit trail that are past their keeping.",
    cron: "41 2 * * *",
    run: cutChains,
  },
];
