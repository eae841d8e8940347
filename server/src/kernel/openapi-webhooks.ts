/** The section `webhooks` of the notifications document: what is sent to a receiver, one entry per type of event. */
import type { Components, Json } from "./document-components.ts";
import { knownTypes } from "./event-filter.ts";
import { eventSchema } from "./event-view.ts";
import type { EventKind } from "./events.ts";
import type { Versions } from "./versions.ts";

type Parts = { source: { versions: Versions }; version: string; components: Components };

export function webhooksOf({ source, version, components }: Parts): Json {
  return Object.fromEntries(
    knownTypes(source.versions, version).map((kind) => [
      kind.type,
      {
        post: {
          operationId: `receive${wordsOf(kind)}`,
          summary: kind.summary,
          description: `Sent to webhooks that asked for \`${kind.type}\` and whose owner holds \`${kind.permission}\`. At least once: a repeat has the same \`webhook-id\`.`,
          tags: ["webhook"],
          security: [],
          parameters: headers,
          requestBody: {
            required: true,
            content: {
              "application/cloudevents+json": { schema: components.put(eventSchema(source.versions, kind, version)) },
            },
          },
          responses: {
            "2XX": { description: "Received. What is not answered so is sent again." },
            "410": { description: "Not wanted any more: the webhook is disabled." },
          },
        },
      },
    ]),
  );
}

/** `demarc.access.signing_key.rotated` is AccessSigningKeyRotated. */
function wordsOf({ type }: EventKind): string {
  const words = type.split(/[._]/).slice(1);
  return words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
}

const header = (name: string, description: string) => ({
  name,
  in: "header",
  required: true,
  description,
  schema: { type: "string" },
});
const headers = [
  header("webhook-id", "Id of the event, the same on every attempt."),
  header("webhook-timestamp", "Unix seconds of this attempt."),
  header(
    "webhook-signature",
    "Signatures (Standard Webhooks): `v1,…` by the secret, `v1a,…` by the key; with blanks between.",
  ),
];
