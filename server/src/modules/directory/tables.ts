import type { Generated } from "kysely";
import { tables } from "#kernel/db";

export type OrgUnitRow = {
  tenant_id: string;
  id: string;
  external_id: string;
  name: string;
  parent_id: string | null;
  is_current: Generated<boolean>;
  created_at: Date;
  updated_at: Date;
};

export type UserRow = {
  tenant_id: string;
  id: string;
  number: number;
  username: string;
  /** What user names are compared by; see names.ts. */
  username_key: string;
  fullname: string;
  email: string;
  email_key: string;
  default_orgunit_id: string;
  user_type: Generated<"full" | "requester">;
  is_support_rep: Generated<boolean>;
  is_current: Generated<boolean>;
  not_current_reason: "deactivated" | "expired" | "scim" | null;
  log_in_method: Generated<"password" | "sso" | "none">;
  is_manager: Generated<boolean>;
  time_zone: string | null;
  language: string | null;
  date_format: Generated<string>;
  expires_at: Date | null;
  source: Generated<"native" | "scim" | "desk">;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
  deleted_at: Date | null;
};

/** Queries over this module's tables. */
export const directory = tables<{
  "directory.orgunit": OrgUnitRow;
  "directory.user": UserRow;
}>();
