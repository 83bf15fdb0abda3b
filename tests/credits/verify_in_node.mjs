// Runs the browser page's script on a corpus: a JSON list of [export text, keys text]; prints the list of verdicts.
import { readFileSync } from "node:fs";
import vm from "node:vm";
const [page, corpus] = process.argv.slice(2).map(name => readFileSync(name, "utf8"));
const script = /<script>\n([^]*)<\/script>/.exec(page)[1];
vm.runInThisContext(script);
const verdicts = [];
for (const [exported, keys] of JSON.parse(corpus)) {
  const verdict = await globalThis.verdictOf(exported, keys);
  verdicts.push(verdict.unreadable ? { unreadable: true } : verdict);
}
process.stdout.write(JSON.stringify(verdicts));
