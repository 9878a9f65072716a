package mcpwire

import (
	"embed"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
)

// Versions are the revisions that there is a schema for, oldest first.
var Versions = []string{"2024-11-05", "2025-03-26", "2025-06-18", LastLegacy, Modern}

// The last revision with initialize, and the one without.
const (
	LastLegacy = "2025-11-25"
	Modern     = "2026-07-28"
	tasksExt   = "ext-tasks/schema" // io.modelcontextprotocol/tasks has a schema of its own
)

// Load reads the schemas of the newest revision of each era, so that the first
// message that is judged is not the slow one.
func Load() error {
	for _, name := range []string{LastLegacy, Modern} {
		if _, err := open(name); err != nil {
			return err
		}
	}
	return nil
}

// The schemas as the specification's repositories have them, with their licences.
//
//go:embed third_party
var files embed.FS

const directory = "third_party/modelcontextprotocol/"

// book holds the definitions of a schema file as properties of one object, so
// that the whole file is resolved once.
type book struct{ resolved *jsonschema.Resolved }

var books sync.Map // of func() (*book, error), by name

func open(name string) (*book, error) {
	load, _ := books.LoadOrStore(name, sync.OnceValues(func() (*book, error) { return read(name) }))
	return load.(func() (*book, error))()
}

func read(name string) (*book, error) {
	data, err := files.ReadFile(directory + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", name, err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", name, err)
	}
	s.Properties = map[string]*jsonschema.Schema{}
	for def := range s.Defs {
		s.Properties[def] = &jsonschema.Schema{Ref: "#/$defs/" + def}
	}
	for def := range s.Definitions { // draft-07
		s.Properties[def] = &jsonschema.Schema{Ref: "#/definitions/" + def}
	}
	r, err := s.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("resolve the schema of %s: %w", name, err)
	}
	return &book{r}, nil
}

// conforms tells whether v is what a schema file defines under a name.
func conforms(file, name string, v any) error {
	b, err := open(file)
	if err != nil {
		return err
	}
	if b.resolved.Schema().Properties[name] == nil {
		return fmt.Errorf("the schema of %s has no %s", file, name)
	}
	if err := b.resolved.Validate(map[string]any{name: v}); err != nil {
		return fmt.Errorf("not a %s of %s: %w", name, file, err)
	}
	return nil
}
