/** What durables and queues have in common: events that were given up, and how they are taken up again. */
import { Type } from "typebox";
import { id, instant, object } from "#kernel/schema";

export const ParkedEvent = object(
  {
    id: id("evt"),
    type: Type.String({ examples: ["demarc.directory.user.updated"] }),
    subject: Type.String(),
    time: instant,
  },
  { title: "ParkedEvent" },
);

export const Unpark = object({
  events: Type.Optional(Type.Array(id("evt"), { minItems: 1, maxItems: 1_000, description: "Ids of parked events." })),
  all: Type.Optional(Type.Literal(true, { description: "Instead of `events`: all of them." })),
});

export const Unparked = object({ count: Type.Integer({ description: "Events that will be delivered again." }) });
