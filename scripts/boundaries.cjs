/** Who may import whom (ARCHITECTURE.md). scripts/checks.test.ts plants violations to show that this still bites. */
module.exports = {
  forbidden: [
    {
      name: "kernel-knows-no-module",
      severity: "error",
      from: { path: "^server/src/kernel/" },
      to: { path: "^server/src/(modules/|app|main|config)" },
    },
    {
      name: "stomp-knows-no-module",
      severity: "error",
      from: { path: "^server/src/stomp/" },
      to: { path: "^server/src/(modules/|app|main|config)" },
    },
    {
      name: "stomp-but-its-socket-is-pure",
      severity: "error",
      from: { path: "^server/src/stomp/", pathNot: "(/socket|\\.(test|fixture))\\.ts$" },
      to: { pathNot: "^(server/src/stomp/|(node:)?buffer$)" },
    },
    {
      name: "module-only-by-its-index",
      severity: "error",
      from: { path: "^server/src/modules/([^/]+)/" },
      to: { path: "^server/src/modules/([^/]+)/(?!index\\.ts$)", pathNot: "^server/src/modules/$1/" },
    },
    {
      name: "schema-imports-no-server-code",
      severity: "error",
      from: { path: "^server/src/modules/.*/schema\\.ts$" },
      to: {
        path: "^server/src/",
        pathNot: "(schema\\.ts$|/tombstone\\.ts$|^server/src/kernel/(page|permissions)\\.ts$)",
      },
    },
    {
      name: "no-cycles-in-the-kernel",
      severity: "error",
      from: { path: "^server/src/kernel/" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "tests-stay-outside",
      severity: "error",
      from: { path: "^server/src/", pathNot: "\\.(test|fixture)\\.ts$" },
      to: { path: "^server/test/|\\.test\\.ts$" },
    },
    {
      name: "cli-knows-no-server",
      severity: "error",
      // Work on secrets at rest needs the database, so it is the one command that is made of the server's own parts.
      from: { path: "^cli/", pathNot: "\\.test\\.ts$|^cli/secrets\\.ts$" },
      to: { path: "^(server|scripts|bench)/" },
    },
    {
      name: "sdk-stands-alone",
      severity: "error",
      from: { path: "^sdk/", pathNot: "\\.test\\.ts$" },
      to: { pathNot: "^sdk/", dependencyTypesNot: ["core"] },
    },
    { name: "server-knows-no-cli", severity: "error", from: { path: "^server/src/" }, to: { path: "^(cli|sdk)/" } },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    parser: "swc",
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js"],
    },
  },
};
