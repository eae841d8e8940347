import { Reply, route } from "#kernel/contract";
import { folderCreated, folderDeleted, folderUpdated } from "../events.ts";
import { categoryConflict, folderTooDeep, tenantBorder } from "../tree.ts";
import { createFolder, deleteFolder, folderNotEmpty, getFolder, listFolders, updateFolder } from "./operations.ts";
import { Folder, FolderChange, FolderList, FolderQuery, NewFolder } from "./schema.ts";
import { folderCycle, folderIsRoot } from "./store.ts";

export const folderRoutes = [
  route({
    method: "GET",
    path: "/folder",
    versions: "v1+",
    id: "listFolders",
    summary: "List folders",
    permission: "folder.read",
    query: FolderQuery,
    replies: { 200: FolderList },
    run: (ctx, { query }) => listFolders(ctx, query),
  }),
  route({
    method: "POST",
    path: "/folder",
    versions: "v1+",
    id: "createFolder",
    summary: "Create a folder",
    permission: "folder.write",
    emits: [folderCreated],
    body: NewFolder,
    replies: { 201: Folder },
    problems: [categoryConflict, folderTooDeep],
    run: async (ctx, { body }) => made(await createFolder(ctx, body)),
  }),
  route({
    method: "GET",
    path: "/folder/{id}",
    versions: "v1+",
    id: "getFolder",
    summary: "Read a folder",
    permission: "folder.read",
    replies: { 200: Folder },
    run: (ctx, { params }) => getFolder(ctx, params.id),
  }),
  route({
    method: "PATCH",
    path: "/folder/{id}",
    versions: "v1+",
    id: "updateFolder",
    summary: "Change or move a folder",
    description: "Renaming, moving, or another customer reference changes what all watches below show.",
    permission: "folder.write",
    emits: [folderUpdated],
    body: FolderChange,
    replies: { 200: Folder },
    problems: [categoryConflict, folderCycle, folderTooDeep, tenantBorder, folderIsRoot],
    run: (ctx, { params, body }) => updateFolder(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/folder/{id}",
    versions: "v1+",
    id: "deleteFolder",
    summary: "Remove an empty folder",
    permission: "folder.write",
    emits: [folderDeleted],
    replies: { 204: null },
    problems: [folderNotEmpty, folderIsRoot],
    run: async (ctx, { params }) => removed(await deleteFolder(ctx, params.id)),
  }),
];

const made = (folder: Folder) => new Reply(201, folder, { location: `/folder/${folder.id}` });
const removed = (now: boolean) =>
  new Reply(204, undefined, { headers: { "demarc-outcome": now ? "deleted" : "absent" } });
