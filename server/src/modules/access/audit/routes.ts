import { route } from "#kernel/contract";
import { Csv } from "../record/schema.ts";
import { downloadAudit, getAudit, listAudit } from "./operations.ts";
import { Audit, AuditCsvQuery, AuditList, AuditQuery } from "./schema.ts";

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
