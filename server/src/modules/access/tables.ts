import type { Generated, GeneratedAlways } from "kysely";
import { tables } from "#kernel/db";
import type { Lane, LaneName } from "#kernel/principal";

export type TenantRow = {
  id: string;
  tenant_id: GeneratedAlways<string>;
  parent_id: string | null;
  kind: "provider" | "partner" | "customer";
  name: string;
  code: string;
  reference: string | null;
  time_zone: string;
  plan_id: string | null;
  features: Record<string, boolean>;
  limits: { maxKeys: number; maxIntegrationKeys: number };
  auth_policy: AuthPolicy;
  status: "active" | "suspended" | "deleting";
  status_reason: string | null;
  purge_at: Date | null;
  /** The last signed head of the audit chain, once the purge has begun. */
  last_head: AuditHead | null;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
};
export type AuditHead = { seq: number; hash: string; at: string; kid: string; signature: string };
export type AuthPolicy = {
  mfa: "off" | "optional" | "required";
  sessionIdleMinutes: number;
  sessionMaxHours: number;
  selfServiceKeys: boolean;
};

export type PlanRow = {
  tenant_id: string;
  id: string;
  name: string;
  lanes: Record<LaneName, Lane>;
  built_in: boolean;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
};

export type RoleRow = {
  tenant_id: string;
  id: string;
  external_id: string;
  face: Generated<"role" | "privilege">;
  name: string;
  /** What names are compared by: `fold` of the directory. */
  name_key: string | null;
  permissions: Record<string, "allow" | "deny">;
  shared: boolean;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
};

export type AssignmentRow = {
  tenant_id: string;
  id: string;
  principal_kind: "user" | "client" | "key";
  principal_id: string;
  role_id: string;
  within_kind: string;
  within_id: string;
  created_at: Date;
  created_by: string;
};

/** The one thing of another module that a bound key acts for. */
export type BoundTo = { kind: string; id: string };

export type KeyRow = {
  tenant_id: string;
  id: string;
  kind: "standard" | "integration" | "personal" | "bound";
  title: string;
  description: string | null;
  user_id: string | null;
  responsible_user_id: string | null;
  scopes: string[];
  read_only: boolean;
  expires_at: Date | null;
  allowed_addresses: string[];
  enabled: Generated<boolean>;
  disabled_reason: string | null;
  bound: BoundTo | null;
  created_by: string;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
  uses: Generated<number>;
  last_used_at: Date | null;
  last_used_address: string | null;
  deleted_at: Date | null;
};

export type SecretRow = { tenant_id: string; digest: Buffer; hint: string; created_at: Date; expires_at: Date | null };

export type ClientRow = {
  tenant_id: string;
  id: string;
  kind: "service" | "application";
  name: string;
  scopes: string[];
  redirect_uris: string[];
  public: boolean;
  access_token_seconds: number;
  enabled: Generated<boolean>;
  created_by: string;
  created_at: Date;
  updated_at: Date;
  version: Generated<number>;
  last_used_at: Date | null;
  deleted_at: Date | null;
};

export type LoginRow = {
  tenant_id: string;
  user_id: string;
  password: string | null;
  password_set_by: string | null;
  password_changed_at: Date | null;
  must_change: Generated<boolean>;
  mfa_enabled: Generated<boolean>;
  blocked_at: Date | null;
  known_addresses: Generated<Record<string, string>>;
};

export type TotpRow = {
  tenant_id: string;
  user_id: string;
  secret_sealed: string;
  begun_at: Date;
  confirmed_at: Date | null;
  /** bigint[], which arrives as text. */
  steps: Generated<string[]>;
};
export type RecoveryCodeRow = { tenant_id: string; user_id: string; digest: Buffer; used_at: Date | null };

export type LinkRow = {
  tenant_id: string;
  id: string;
  kind: "invitation" | "reset" | "setup";
  user_id: string | null;
  digest: Buffer;
  takes_user: Generated<boolean>;
  created_by: string;
  created_at: Date;
  expires_at: Date;
  ended_at: Date | null;
  used_at: Date | null;
};

export type AccessTables = {
  "access.tenant": TenantRow;
  "access.tenant_ancestor": { tenant_id: string; ancestor_id: string; depth: number };
  "access.plan": PlanRow;
  "access.role": RoleRow;
  "access.assignment": AssignmentRow;
  "access.key": KeyRow;
  "access.key_secret": SecretRow & { key_id: string };
  "access.client": ClientRow;
  "access.client_secret": SecretRow & { client_id: string };
  "access.login": LoginRow;
  "access.totp": TotpRow;
  "access.recovery_code": RecoveryCodeRow;
  "access.link": LinkRow;
};

/** Queries over this module's tables. */
export const access = tables<AccessTables>();
