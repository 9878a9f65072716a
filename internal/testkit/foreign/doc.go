// Package foreign drives the built cctask with the MCP clients and suites of
// others: the official TypeScript SDK of both protocol eras, the Go SDK, the
// Inspector, and the conformance suite. It holds tests only. It may import what
// tests need (internal/testkit/cctest, internal/testkit/mcpwire, the fakes) and must not
// know how the server works: a client sees messages.
//
// The clients come from npm: `make foreign` installs them into .cache. Without
// them the tests skip; with CI=true they fail. Each server runs behind a
// tap (this test binary), which records what passes, and every message of the
// server is judged by the specification's schemas.
package foreign
