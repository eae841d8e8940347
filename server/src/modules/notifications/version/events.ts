import { Type } from "typebox";
import { event } from "#kernel/events";
import { nullable } from "#kernel/schema";
import { Version } from "./schema.ts";

export type SunsetNews = { daysToSunset: number | null };
const about = {
  permission: "notification.subscribe",
  resource: Version,
  adds: {
    daysToSunset: nullable(
      Type.Integer({ description: "Whole days until the version is served no more.", minimum: 0 }),
    ),
  },
} as const;

export const versionReleased = event<SunsetNews>("notifications", "version.released", {
  ...about,
  summary: "There is a newer version of the API than the ones you call.",
});
export const versionDeprecated = event<SunsetNews>("notifications", "version.deprecated", {
  ...about,
  summary: "A version that you called in the last 90 days was deprecated; again 90, 30, 7 and 1 days before its end.",
});
export const versionRetired = event<SunsetNews>("notifications", "version.retired", {
  ...about,
  summary: "A version that you called in its last 90 days is served no more.",
});
export const versionEvents = [versionReleased, versionDeprecated, versionRetired];
