package mcpwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Conversation follows one client and its server. The zero value is ready.
type Conversation struct {
	mu     sync.Mutex
	legacy string            // the revision that initialize settled; "" before
	modern bool              // a request of the modern era was seen
	calls  map[string][]call // not answered, by the raw id
	tokens map[string]string // of progress: the revision, by the raw token
	judged int
}

type call struct{ method, version string }

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Watch follows what a server reads from in and writes to out, and reports
// each message of the server that is not as the specification says.
func (c *Conversation) Watch(in io.Reader, out io.Writer, report func(error)) (io.Reader, io.Writer) {
	heard := &lines{each: c.Sent}
	said := &lines{each: func(line []byte) {
		if err := c.Received(line); err != nil {
			report(err)
		}
	}}
	return &tee{in, heard}, io.MultiWriter(said, out)
}

// tee shows what is read. The end ends a line too.
type tee struct {
	from io.Reader
	to   *lines
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	_, _ = t.to.Write(p[:n])
	if err != nil {
		_, _ = t.to.Write([]byte{'\n'})
	}
	return n, err
}

// lines is a writer that cuts what it gets into lines.
type lines struct {
	each func([]byte)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.rest = append(l.rest, p...)
			return n, nil
		}
		l.each(append(l.rest, p[:end]...))
		l.rest, p = nil, p[end+1:]
	}
}

// Judged is the number of messages of the server so far.
func (c *Conversation) Judged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.judged
}

// Sent takes note of a line of the client, before the server can answer it.
// What is not a request is not the server's fault, and is passed over.
func (c *Conversation) Sent(line []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Meta struct {
				Version string          `json:"io.modelcontextprotocol/protocolVersion"`
				Token   json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		} `json:"params"`
	}
	// Parameters of another type leave the rest as it should be.
	err := json.Unmarshal(line, &m)
	if wrong := new(json.UnmarshalTypeError); (err != nil && !errors.As(err, &wrong)) || m.ID == nil {
		return
	}
	meta := m.Params.Meta
	c.mu.Lock()
	defer c.mu.Unlock()
	version := c.negotiated()
	if meta.Version != "" || m.Method == "server/discover" {
		version, c.modern = Modern, true
	}
	if c.calls == nil {
		c.calls, c.tokens = map[string][]call{}, map[string]string{}
	}
	c.calls[string(m.ID)] = append(c.calls[string(m.ID)], call{m.Method, version})
	if meta.Token != nil {
		c.tokens[string(meta.Token)] = version
	}
}

func (c *Conversation) negotiated() string {
	if c.legacy == "" {
		return LastLegacy
	}
	return c.legacy
}

// Received judges a line of the server.
func (c *Conversation) Received(line []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged++
	var m message
	var whole any
	err := json.Unmarshal(line, &whole)
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("not a message: %w", err)
	case m.Method != "" && m.ID != nil:
		err = errors.New("the server asks the client for something")
	case m.Method != "":
		err = c.notification(m, whole)
	default:
		err = c.response(m, whole)
	}
	if err != nil {
		return fmt.Errorf("the server wrote %.2000s\n%w", line, err)
	}
	return nil
}

// notifications are the definitions of what a server may say unasked.
var notifications = map[string]string{
	"notifications/cancelled":                  "CancelledNotification",
	"notifications/progress":                   "ProgressNotification",
	"notifications/message":                    "LoggingMessageNotification",
	"notifications/resources/updated":          "ResourceUpdatedNotification",
	"notifications/resources/list_changed":     "ResourceListChangedNotification",
	"notifications/tools/list_changed":         "ToolListChangedNotification",
	"notifications/prompts/list_changed":       "PromptListChangedNotification",
	"notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
	"notifications/tasks/status":               "TaskStatusNotification",
}

func (c *Conversation) notification(m message, whole any) error {
	var p struct {
		Token json.RawMessage `json:"progressToken"`
		Meta  struct {
			Subscription json.RawMessage `json:"io.modelcontextprotocol/subscriptionId"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(m.Params, &p); m.Params != nil && err != nil {
		return fmt.Errorf("params: %w", err)
	}
	version := c.negotiated()
	if p.Meta.Subscription != nil || (c.modern && c.legacy == "") {
		version = Modern
	}
	if m.Method == "notifications/progress" {
		of, known := c.tokens[string(p.Token)]
		if !known {
			return errors.New("progress with a token that no request had")
		}
		version = of
	}
	if m.Method == "notifications/tasks" {
		return conforms(tasksExt, "TaskStatusNotification", whole)
	}
	if notifications[m.Method] == "" {
		return fmt.Errorf("the specification has no %s", m.Method)
	}
	return conforms(version, notifications[m.Method], whole)
}

func (c *Conversation) response(m message, whole any) error {
	if m.Error != nil && m.Result != nil {
		return errors.New("a response with a result and an error")
	}
	if m.Error != nil {
		return c.failure(m, whole)
	}
	open := c.calls[string(m.ID)]
	if len(open) == 0 {
		return errors.New("an answer to no request, or a second one")
	}
	asked := open[0]
	c.forget(m.ID, 0)
	result := whole.(map[string]any)["result"]
	if asked.method == "initialize" {
		object, _ := result.(map[string]any)
		asked.version, _ = object["protocolVersion"].(string)
		c.legacy = asked.version
	}
	envelope := "JSONRPCResultResponse"
	if asked.version < LastLegacy {
		envelope = "JSONRPCResponse"
	}
	file, def := asked.resultOf(result)
	if def == "" {
		return fmt.Errorf("the specification has no request %s", asked.method)
	}
	if err := conforms(asked.version, envelope, whole); err != nil {
		return err
	}
	return conforms(file, def, result)
}

func (c *Conversation) forget(id json.RawMessage, i int) {
	if rest := slices.Delete(c.calls[string(id)], i, i+1); len(rest) > 0 {
		c.calls[string(id)] = rest
	} else {
		delete(c.calls, string(id))
	}
}

// failures are the definitions of errors that have one in the modern era, of
// the whole message or of its error.
var failures = map[float64]struct {
	def   string
	whole bool
}{
	-32700: {"ParseError", false},
	-32600: {"InvalidRequestError", false},
	-32601: {"MethodNotFoundError", false},
	-32602: {"InvalidParamsError", false},
	-32603: {"InternalError", false},
	-32020: {"HeaderMismatchError", true},
	-32021: {"MissingRequiredClientCapabilityError", true},
	-32022: {"UnsupportedProtocolVersionError", true},
}

// failure judges an error. The refusal of a request whose id is in use comes
// before the answer of the first: it is for the last one.
func (c *Conversation) failure(m message, whole any) error {
	version, envelope := c.negotiated(), "JSONRPCErrorResponse"
	if open := c.calls[string(m.ID)]; len(open) > 0 {
		version = open[len(open)-1].version
		c.forget(m.ID, len(open)-1)
	}
	fault, _ := whole.(map[string]any)["error"].(map[string]any)
	code, _ := fault["code"].(float64)
	if m.ID == nil {
		if code != -32700 && code != -32600 {
			return errors.New("an error that belongs to no request")
		}
		// Before 2025-11-25 the schema wants an id also where there is none to name.
		version = max(version, LastLegacy)
	}
	if version < LastLegacy {
		envelope = "JSONRPCError"
	}
	err := conforms(version, envelope, whole)
	if special := failures[code]; err == nil && version == Modern && special.def != "" {
		if special.whole {
			err = conforms(version, special.def, whole)
		} else {
			err = conforms(version, special.def, fault)
		}
	}
	return err
}
