package setup

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cctask/engine/task"
)

// Client is an MCP client other than Claude Code: where its settings lie,
// and what has to stand in them.
type Client struct {
	name string
	File string
	Text func(command []string) string
}

// The files are those that the clients' own documentation names.
var clients = []Client{
	{"claude-desktop", "claude_desktop_config.json: Settings > Developer > Edit Config", jsonServers("mcpServers", "")},
	{"cursor", "~/.cursor/mcp.json, or .cursor/mcp.json of a project", jsonServers("mcpServers", "")},
	{"vscode", ".vscode/mcp.json, or the user's mcp.json (command MCP: Open User Configuration)", jsonServers("servers", "stdio")},
	{"codex", "~/.codex/config.toml", tomlServer},
}

// ClientNames are those that setup knows.
func ClientNames() []string {
	var names []string
	for _, c := range clients {
		names = append(names, c.name)
	}
	return names
}

// FindClient is the client of a name.
func FindClient(name string) (Client, error) {
	i := slices.IndexFunc(clients, func(c Client) bool { return c.name == name })
	if i < 0 {
		return Client{}, task.Invalid(fmt.Sprintf("--client: %q is unknown", name), "Use one of "+strings.Join(ClientNames(), ", ")+".")
	}
	return clients[i], nil
}

type jsonServer struct {
	Type    string   `json:"type,omitempty"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

func jsonServers(key, kind string) func([]string) string {
	return func(command []string) string {
		text, err := json.MarshalIndent(map[string]map[string]jsonServer{
			key: {ServerName: {Type: kind, Command: command[0], Args: command[1:]}},
		}, "", "  ")
		if err != nil {
			panic(err) // strings always marshal
		}
		return string(text) + "\n"
	}
}

func tomlServer(command []string) string {
	var args []string
	for _, arg := range command[1:] {
		args = append(args, strconv.Quote(arg))
	}
	// Codex ends a call after 60 s by default, and a task may take hours.
	return fmt.Sprintf("[mcp_servers.%s]\ncommand = %q\nargs = [%s]\ntool_timeout_sec = 3600\n", ServerName, command[0], strings.Join(args, ", "))
}
