#!/usr/bin/env node
/**
 * The command `demarc`. Exit codes: 0 all is well, 1 it is not, 2 the command could not do its work; `listen` has more
 * of its own.
 */
import { Command, CommanderError } from "commander";
import { UnusableInput, verifyChain } from "./audit-verify.ts";
import { listenCommand } from "./listen/command.ts";

const program = new Command("demarc")
  .description("Work on a Demarc installation and what it hands out.")
  .exitOverride();

const audit = program.command("audit").description("The audit trail.");
audit
  .command("verify")
  .description("Verify a downloaded audit chain offline, against signed heads.")
  .requiredOption("--chain <file>", "the chain, as GET /v1/audit/chain gives it")
  .requiredOption(
    "--heads <files...>",
    "signed heads: the file that the server appends to, or what GET /v1/audit/head gave",
  )
  .requiredOption("--keys <file>", "public keys, as /.well-known/demarc-audit-keys.json gives them")
  .option("--json", "answer in JSON")
  .action(async ({ json, ...files }: { chain: string; heads: string[]; keys: string; json?: true }) => {
    const verdict = await verifyChain(files);
    process.exitCode = verdict.sound ? 0 : 1;
    if (json) return console.log(JSON.stringify(verdict));
    if (!verdict.sound) return console.log(`NOT SOUND: ${verdict.kind} at seq ${verdict.seq}\n${verdict.message}`);
    const { tenantId, from, to, entries, heads, provenTo } = verdict;
    console.log(`Sound: ${entries} entries of ${tenantId}, seq ${from} to ${to}, held against ${heads} signed heads.`);
    if (to > provenTo)
      console.log(`The last ${to - provenTo} came after the newest of these heads, which does not cover them.`);
  });

const secrets = program.command("secrets").description("The keys under which secrets are stored.");
secrets
  .command("status")
  .description("Count data keys per master key, and show which keys the running servers hold.")
  .option("--json", "answer in JSON")
  .action(async ({ json }: { json?: true }) => (await import("./secrets.ts")).showStatus(json === true));
secrets
  .command("rotate")
  .description("Wrap all data keys under the first master key.")
  .option("--data", "also make new data keys, and seal every stored secret anew")
  .action(async ({ data }: { data?: true }) => (await import("./secrets.ts")).rotate(data === true));

program.addCommand(listenCommand("listen"));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    // Whatever keeps the command from its work must not look like a verdict.
    const isExpected = error instanceof UnusableInput || (error as Error).name === "Refusal";
    console.error(isExpected ? (error as Error).message : error);
    process.exitCode = 2;
  }
}
