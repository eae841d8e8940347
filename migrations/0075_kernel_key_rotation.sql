-- `demarc secrets rotate --data` seals every secret at rest anew, across tenants: it reads rows and writes these columns.
grant update (sealed_body) on kernel.idempotency to demarc_system;
grant update (snmp_sealed) on monitoring.watch to demarc_system;
grant update (request_sealed) on monitoring.reconcile to demarc_system;
grant update (private_sealed) on access.audit_key to demarc_system;
