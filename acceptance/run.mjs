// Runs the acceptance tests: JavaScript by node's own runner, Python by unittest. Arguments: words a file name must contain.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2);
const wanted = (name) => words.length === 0 || words.some((w) => name.includes(w));
const pick = (folder, ending) => readdirSync(join(here, folder)).filter((f) => f.endsWith(ending) && wanted(f)).map((f) => join(folder, f));

function run(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: here, stdio: "inherit" });
  if (error) console.error(`${program}: ${error.message}`);
  return status === 0;
}

const js = pick("tests", ".test.mjs");
const py = pick("py", ".py").filter((f) => f.includes("test_"));
let good = js.length + py.length > 0;
if (!good) console.error("no test file matches");
if (js.length) good = run(process.execPath, ["--test", "--test-concurrency=2", "--test-reporter=spec", ...js]) && good;
if (py.length) {
  const venv = join(here, ".venv/bin/python3");
  const modules = py.map((f) => f.slice("py/".length, -".py".length));
  good = run(existsSync(venv) ? venv : "python3", ["-m", "unittest", "-v", ...modules.map((m) => `py.${m}`)]) && good;
}
process.exit(good ? 0 : 1);
