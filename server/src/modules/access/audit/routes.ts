import { route } from "#kernel/contract";
import { Csv, Ndjson } from "../record/schema.ts";
import { downloadAudit, getAudit, getAuditChain, listAudit, listAuditHeads } from "./operations.ts";
import { Audit, AuditCsvQuery, AuditHeadList, AuditHeadQuery, AuditList, AuditQuery } from "./schema.ts";

const absent =
  "Entries about users, roles, assignments, keys, clients and log-ins need `audit.readAccess` too (those of type `login`: or `loginReport.read`); without it they are absent.";

export const auditRoutes = [
  route({
    method: "GET",
    path: "/audit",
    versions: "v1+",
    id: "listAudit",
    summary: "List changes",
    description: `Of things of the acting tenant and those below it, newest first. ${absent}`,
    permission: "audit.read",
    query: AuditQuery,
    replies: { 200: AuditList },
    run: (ctx, { query }) => listAudit(ctx, query),
  }),
  route({
    method: "GET",
    path: "/audit/csv",
    versions: "v1+",
    id: "downloadAudit",
    summary: "Download changes as CSV",
    description: `Newest first, at most 100,000 rows; more is an export's work. ${absent}`,
    permission: "audit.read",
    query: AuditCsvQuery,
    replies: { 200: Csv },
    run: (ctx, { query }) => downloadAudit(ctx, query),
  }),
  route({
    method: "GET",
    path: "/audit/chain",
    versions: "v1+",
    id: "getAuditChain",
    summary: "Download the sealed chain of changes",
    description:
      "Of the acting tenant alone, the oldest first, an entry a line in canonical JSON (RFC 8785). Needs `audit.readAccess` too, and both in the whole of the tenant: a chain with gaps proves nothing. How to verify it: docs/the-record.md.",
    permission: "audit.read",
    replies: { 200: Ndjson },
    run: (ctx) => getAuditChain(ctx),
  }),
  route({
    method: "GET",
    path: "/audit/head",
    versions: "v1+",
    id: "listAuditHeads",
    summary: "List signed heads of chains",
    description:
      "Of the acting tenant and those below it, newest first. Keep copies elsewhere: they expose a chain that was rewritten or shortened.",
    permission: "audit.read",
    query: AuditHeadQuery,
    replies: { 200: AuditHeadList },
    run: (ctx, { query }) => listAuditHeads(ctx, query),
  }),
  route({
    method: "GET",
    path: "/audit/{id}",
    versions: "v1+",
    id: "getAudit",
    summary: "Read one change",
    description: absent,
    permission: "audit.read",
    replies: { 200: Audit },
    run: (ctx, { params }) => getAudit(ctx, params.id),
  }),
];
