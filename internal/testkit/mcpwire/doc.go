// Package mcpwire judges what an MCP server writes by the JSON schemas of the
// specification, each message by the revision of the request that it belongs to.
// For tests only. It may import the standard library and jsonschema-go, and must
// never know cctask: to it there are only lines of a server.
package mcpwire
