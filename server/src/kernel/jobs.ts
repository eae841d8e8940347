/** Work without a caller, at fixed times. `cron` is in UTC, five fields; runs are never parallel and may be repeated. */
export type JobKind = {
  readonly name: string;
  readonly summary: string;
  readonly cron: string;
  run(kernel: import("./kernel.ts").Kernel): Promise<void>;
};
