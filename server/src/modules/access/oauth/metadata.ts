import { offeredScopes } from "./scope.ts";
import type { AuthorizationServer } from "./server.ts";
import { grantTypesOffered } from "./token-endpoint.ts";

/** Authorization server metadata (RFC 8414). One canonical address for each endpoint, whatever others answer. */
export function metadata(server: AuthorizationServer): Record<string, unknown> {
  const issuer = server.kernel.settings.publicUrl;
  return {
    issuer,
    authorization_endpoint: `${issuer}/oauth/authorize`,
    token_endpoint: `${issuer}/oauth/token`,
    jwks_uri: `${issuer}/oauth/jwks`,
    revocation_endpoint: `${issuer}/oauth/revoke`,
    introspection_endpoint: `${issuer}/oauth/introspect`,
    device_authorization_endpoint: `${issuer}/oauth/device_authorization`,
    scopes_supported: offeredScopes,
    response_types_supported: ["code"],
    response_modes_supported: ["query"],
    code_challenge_methods_supported: ["S256"],
    authorization_response_iss_parameter_supported: true,
    grant_types_supported: grantTypesOffered(server),
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "none"],
    revocation_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "none"],
    introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    service_documentation: `${issuer}/docs`,
  };
}

/** Where the metadata of an issuer stands: the well-known part comes before the issuer's own path (RFC 8414, section 3.1). */
export function metadataPath(issuer: string): string {
  return `/.well-known/oauth-authorization-server${new URL(issuer).pathname.replace(/\/$/, "")}`;
}
