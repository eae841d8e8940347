import { Reply, route } from "#kernel/contract";
import { locationCreated, locationDeleted, locationUpdated } from "../events.ts";
import { tenantBorder } from "../tree.ts";
import {
  createLocation,
  deleteLocation,
  getLocation,
  listLocations,
  locationNotEmpty,
  updateLocation,
} from "./operations.ts";
import { Location, LocationChange, LocationList, LocationQuery, NewLocation } from "./schema.ts";
import { locationIsRoot, locationNameTaken } from "./store.ts";

export const locationRoutes = [
  route({
    method: "GET",
    path: "/location",
    versions: "v1+",
    id: "listLocations",
    summary: "List locations",
    permission: "folder.read",
    query: LocationQuery,
    replies: { 200: LocationList },
    run: (ctx, { query }) => listLocations(ctx, query),
  }),
  route({
    method: "POST",
    path: "/location",
    versions: "v1+",
    id: "createLocation",
    summary: "Create a location",
    permission: "folder.write",
    emits: [locationCreated],
    body: NewLocation,
    replies: { 201: Location },
    problems: [locationNameTaken],
    run: async (ctx, { body }) => made(await createLocation(ctx, body)),
  }),
  route({
    method: "GET",
    path: "/location/{id}",
    versions: "v1+",
    id: "getLocation",
    summary: "Read a location",
    permission: "folder.read",
    replies: { 200: Location },
    run: (ctx, { params }) => getLocation(ctx, params.id),
  }),
  route({
    method: "PATCH",
    path: "/location/{id}",
    versions: "v1+",
    id: "updateLocation",
    summary: "Change or move a location",
    permission: "folder.write",
    emits: [locationUpdated],
    body: LocationChange,
    replies: { 200: Location },
    problems: [locationNameTaken, tenantBorder, locationIsRoot],
    run: (ctx, { params, body }) => updateLocation(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/location/{id}",
    versions: "v1+",
    id: "deleteLocation",
    summary: "Remove a location without watches",
    permission: "folder.write",
    emits: [locationDeleted],
    replies: { 204: null },
    problems: [locationNotEmpty, locationIsRoot],
    run: async (ctx, { params }) => removed(await deleteLocation(ctx, params.id)),
  }),
];

const made = (location: Location) => new Reply(201, location, { location: `/location/${location.id}` });
const removed = (now: boolean) =>
  new Reply(204, undefined, { headers: { "demarc-outcome": now ? "deleted" : "absent" } });
