// A stand-in for the standalone server of Simba's dashboard: it reads .env.production once, as Next does, and
// queries PostgreSQL itself, as better-auth does.
const { createServer } = require("node:http");
const { existsSync } = require("node:fs");
const { loadEnvConfig } = require("@next/env");
const { Pool } = require("pg");

const PORT = 3000;
// Milliseconds.
const CONNECTION_TIMEOUT = 5000;

function serve() {
  loadEnvConfig(process.cwd(), false, { info() {}, error: console.error });
  if (!process.env.DATABASE_URL || !process.env.BETTER_AUTH_SECRET) {
    console.error("DATABASE_URL or BETTER_AUTH_SECRET is missing");
    process.exit(1);
  }
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, connectionTimeoutMillis: CONNECTION_TIMEOUT });
  pool.on("error", (error) => console.error(`connection ended: ${error.code}`));
  const server = createServer(async (request, response) => {
    try {
      const { rows } = await pool.query("SELECT count(*)::int AS documents FROM documents");
      const answer = await fetch(`${process.env.API_URL}/api/v1/health`);
      response.writeHead(answer.ok ? 200 : 502, { "content-type": "application/json", "cache-control": "no-store" });
      response.end(JSON.stringify({ documents: rows[0].documents }));
    } catch (error) {
      // The error's message may contain the user.
      console.error(`failed: ${error.code ?? error.name}`);
      response.writeHead(500).end();
    }
  });
  process.on("SIGTERM", () => {
    server.close(() => pool.end().then(() => process.exit(0)));
    server.closeIdleConnections();
  });
  server.listen(PORT, () => console.log("ready"));
}

// After a restart of the host the Engine starts all containers concurrently: it may start before its file.
function wait() {
  if (existsSync(".env.production")) serve();
  else setTimeout(wait, 100);
}
wait();
