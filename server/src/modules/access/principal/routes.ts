import { route } from "#kernel/contract";
import { getPrincipal } from "./operations.ts";
import { CallingPrincipal } from "./schema.ts";

export const principalRoutes = [
  route({
    method: "GET",
    path: "/principal/self",
    versions: "v1+",
    id: "getPrincipal",
    summary: "Read who calls, and what the call may do",
    permission: "any",
    replies: { 200: CallingPrincipal },
    run: (ctx) => getPrincipal(ctx),
  }),
];
