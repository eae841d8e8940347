import { Type } from "typebox";
import { nullable, object, oneOf } from "#kernel/schema";

export const Version = object(
  {
    label: Type.String({ examples: ["v1"] }),
    status: oneOf(["ga", "deprecated", "retired", "alias"]),
    servedBy: Type.String({ description: "The version that answers under this label." }),
    releasedAt: nullable(Type.String()),
    deprecatedAt: nullable(Type.String()),
    sunsetAt: nullable(Type.String({ description: "From then on it answers 410 `version_retired`." })),
    successor: nullable(Type.String()),
    documents: Type.Array(Type.String({ description: "Address of an OpenAPI or AsyncAPI document." })),
  },
  { title: "Version" },
);
export const VersionList = object({ items: Type.Array(Version) }, { title: "Versions" });
