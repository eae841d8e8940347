import { Type } from "typebox";
import { object } from "#kernel/schema";

export const EventType = object(
  {
    type: Type.String({ examples: ["demarc.directory.user.updated"] }),
    service: Type.String({ examples: ["directory"] }),
    noun: Type.String({ examples: ["user"] }),
    verb: Type.String({ examples: ["updated"], description: "What happened, in the past tense." }),
    permission: Type.String({ description: "What one needs, beside `notification.subscribe`, to see such events." }),
    since: Type.String({ examples: ["v1"], description: "The version it came with." }),
    summary: Type.String(),
    schemaUrl: Type.String({ description: "Address of the JSON Schema of the whole event." }),
    example: Type.Object({}, { additionalProperties: true, description: "A whole event." }),
  },
  { title: "EventType" },
);
