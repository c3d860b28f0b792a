// Prints what GitHub's own parser of workflows and actions finds wrong, one line each: node github_parser.mjs FILE…
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";

// The package is made for bundlers, which import its JSON without an attribute.
registerHooks({
  load: (url, context, next) =>
    next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context),
});
const parser = join(process.cwd(), "node_modules/@actions/workflow-parser/dist");
const { parseWorkflow, convertWorkflowTemplate, NoOperationTraceWriter } = await import(join(parser, "index.js"));
const { parseAction } = await import(join(parser, "actions/action-parser.js"));

for (const name of process.argv.slice(2)) {
  const file = { name, content: readFileSync(name, "utf8") };
  const isAction = name.endsWith("action.yml");
  const parsed = (isAction ? parseAction : parseWorkflow)(file, new NoOperationTraceWriter());
  const found = parsed.context.errors.getErrors().map((error) => error.message);
  if (!isAction && parsed.value) {
    const template = await convertWorkflowTemplate(parsed.context, parsed.value);
    found.push(...(template.errors ?? []).map((error) => error.Message));
  }
  for (const line of new Set(found)) console.log(line);
}
