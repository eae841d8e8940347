/** `demarc listen` as a program of its own: what the single file at /docs/receiver is made of. */
import { listenCommand } from "./listen/command.ts";

await listenCommand("demarc-listen").parseAsync();
