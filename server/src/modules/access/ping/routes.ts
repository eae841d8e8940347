import { Type } from "typebox";
import { route } from "#kernel/contract";
import { object } from "#kernel/schema";

/** The text that existing integrations look for. */
const message =
  "Ping successful. Usage of this resource is throttled to prevent misuse (do not use this as part of regular integration processes).";

export const pingRoutes = [
  route({
    method: "GET",
    path: "/ping",
    versions: "v1+",
    id: "ping",
    summary: "Check the connection and the credential",
    permission: "any",
    ownBucket: { name: "ping", ratePerSecond: 1, burst: 5 },
    replies: { 200: object({ message: Type.String({ examples: [message] }) }, { title: "Ping" }) },
    run: () => ({ message }),
  }),
];
