/**
 * Places by name (monitoring, 4.4): a path of folder names below a folder that the caller sees, found or made step by
 * step. A step that two children fit is refused, never guessed. Who makes one holds the parent's row, so concurrent
 * callers of one path make one folder.
 */
import { sql } from "kysely";
import { type Static, Type } from "typebox";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import { lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, problem, referenceNotFound, refuse } from "#kernel/problem";
import { id, object } from "#kernel/schema";
import { type ImportedFolder } from "../folder/schema.ts";
import { holdFolder, insertFolders } from "../folder/store.ts";
import { type ImportedLocation } from "../location/schema.ts";
import { insertLocation, locationNamed, type PlacedLocation } from "../location/store.ts";
import { treeName } from "../folder/schema.ts";
import { idFault } from "../reference.ts";
import { homeFolders, visibleFolders } from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { lockTree } from "../tree.ts";
