package mcp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"github.com/tidwall/gjson"

	"cctask/engine/task"
)

// maxDepth bounds the nesting of a message: above it encoding/json, and others
// that the message would go through, give up one after the other.
const maxDepth = 1000

// maxValues bounds the members and items of a message: decoded, each takes up to
// a hundred bytes, so that 16 MiB of them would take half a gigabyte.
const maxValues = 20_000

// param is what the specification says of one param of a method. mcp-go would
// tell a client of a wrong one in terms of its own types, or not at all.
type param struct {
	path     string // "a.b" is in the object a; "*" is each of an object
	required bool
	option   task.Option
}

var (
	aString  = task.Option{BlankIsNone: true}
	aFlag    = task.Option{Kind: task.KindToggle}
	anObject = task.Option{Kind: task.KindObject}
	strs     = task.Option{Kind: task.KindList, BlankIsNone: true}

	// Our lists are one page each, so that no cursor is one of ours.
	listParams = []param{{"cursor", false, aString}}
	uriParam   = []param{{"uri", true, aString}}
	ofTask     = []param{{"taskId", true, aString}}
)

var paramsOf = map[mcpgo.MCPMethod][]param{
	mcpgo.MethodInitialize: {
		{"protocolVersion", false, aString},
		{"capabilities", false, anObject},
		{"clientInfo", false, anObject},
		{"clientInfo.name", false, aString},
		{"clientInfo.version", false, aString},
	},
	mcpgo.MethodToolsList: listParams, mcpgo.MethodPromptsList: listParams,
	mcpgo.MethodResourcesList: listParams, mcpgo.MethodResourcesTemplatesList: listParams,
	mcpgo.MethodToolsCall: {
		{"name", true, aString},
		{"arguments", false, anObject},
	},
	"tasks/get": ofTask, "tasks/cancel": ofTask, "tasks/update": append([]param{{"inputResponses", false, anObject}}, ofTask...),
	mcpgo.MethodPromptsGet:         {{"name", true, aString}, {"arguments", false, anObject}, {"arguments.*", false, aString}},
	mcpgo.MethodResourcesRead:      uriParam,
	mcpgo.MethodResourcesSubscribe: uriParam, mcpgo.MethodResourcesUnsubscribe: uriParam,
	mcpgo.MethodCompletionComplete: {
		{"ref", true, anObject},
		{"ref.type", true, task.Option{Words: []string{"ref/prompt", "ref/resource"}}},
		{"ref.name", false, aString},
		{"ref.uri", false, aString},
		{"argument", true, anObject},
		{"argument.name", true, aString},
		{"argument.value", true, aString},
	},
	mcpgo.MethodSubscriptionsListen: {
		{"notifications", true, anObject},
		{"notifications.resourceSubscriptions", false, strs},
		{"notifications.taskIds", false, strs},
		{"notifications.toolsListChanged", false, aFlag},
		{"notifications.promptsListChanged", false, aFlag},
		{"notifications.resourcesListChanged", false, aFlag},
	},
}

// checkParams takes the params of a request apart, or says what is wrong with them.
func checkParams(method string, raw json.RawMessage) (params map[string]json.RawMessage, bad *responseError) {
	invalid := func(format string, args ...any) *responseError {
		return failure(mcpgo.INVALID_PARAMS, method+": "+format, args...).Error
	}
	if params = members(raw); params == nil && len(raw) > 0 && string(raw) != "null" {
		return nil, invalid("params: given %s, allowed is an object", quoted(raw))
	}
	rows := []param{{"_meta", false, anObject}}
	if !gone(method, params["_meta"]) {
		rows = append(rows, paramsOf[mcpgo.MCPMethod(method)]...)
	}
	for _, p := range rows {
		if fault := p.check(params, p.path); fault != "" {
			return nil, invalid("%s", fault)
		}
	}
	return params, nil
}

// gone tells whether a method is none of the revision that a request is of: that
// matters before its params do.
func gone(method string, rawMeta json.RawMessage) bool {
	lost := []mcpgo.MCPMethod{mcpgo.MethodInitialize, mcpgo.MethodResourcesSubscribe, mcpgo.MethodResourcesUnsubscribe}
	return slices.Contains(lost, mcpgo.MCPMethod(method)) && mcpgo.IsModernProtocol(versionOf(rawMeta))
}

// versionOf is the protocol version that a request's _meta names, or "".
func versionOf(rawMeta json.RawMessage) (version string) {
	_ = json.Unmarshal(members(rawMeta)[mcpgo.MetaKeyProtocolVersion], &version)
	return version
}

// check says what is wrong with the param at path in an object.
func (p param) check(in map[string]json.RawMessage, path string) (fault string) {
	first, rest, nested := strings.Cut(path, ".")
	names := []string{first}
	if first == "*" {
		names = sortedKeys(in)
	}
	for _, name := range names {
		value, ok := in[name]
		shown := strings.TrimSuffix(p.path, path) + name
		switch ok = ok && string(value) != "null"; {
		case nested:
			// Another row says whether value must be there, and that it is an object.
			if inner := members(value); inner != nil {
				fault = p.check(inner, rest)
			}
		case !ok && p.required:
			fault = fmt.Sprintf("%s: missing, required is %s", shown, p.option.Allowed())
		case ok && p.path == "cursor" && string(value) != `""`:
			fault = fmt.Sprintf("%s: given %s, allowed is none: the list is one page", shown, quoted(value))
		case ok && !ofKind(p.option, value), ok && p.option.Words != nil && !fits(p.option, value):
			fault = fmt.Sprintf("%s: given %s, allowed is %s", shown, quoted(value), p.option.Allowed())
		}
		if fault != "" {
			return fault
		}
	}
	return ""
}

// members gives the members of an object as they are written, without a copy:
// encoding/json makes one at each level, and a message may be 16 MiB. The last
// of two with the same name counts. It is nil if text is no object. text must
// be valid JSON.
func members(text []byte) map[string]json.RawMessage {
	object := gjson.Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	if !object.IsObject() {
		return nil
	}
	all := map[string]json.RawMessage{}
	object.ForEach(func(name, value gjson.Result) bool {
		var key string
		_ = json.Unmarshal([]byte(name.Raw), &key) // which mends what is not UTF-8
		all[key] = text[value.Index : value.Index+len(value.Raw) : value.Index+len(value.Raw)]
		return true
	})
	return all
}

// shape is how deep brackets are nested in text, and how many values it has at
// least, strings not looked into.
func shape(text []byte) (deepest, values int) {
	level, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		case c == ',':
			values++
		}
	}
	return deepest, values
}
