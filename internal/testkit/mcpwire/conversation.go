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

type call struct {
	method, version string
	cancelled       bool // an answer may have been on its way
}

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
	for _, m := range batch(line) {
		c.Sent(m)
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Cancelled json.RawMessage `json:"requestId"`
			Meta      struct {
				Version string          `json:"io.modelcontextprotocol/protocolVersion"`
				Token   json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		} `json:"params"`
	}
	// Parameters of another type leave the rest as it should be.
	err := json.Unmarshal(line, &m)
	if wrong := new(json.UnmarshalTypeError); err != nil && !errors.As(err, &wrong) {
		return
	}
	meta := m.Params.Meta
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.ID == nil {
		if open := c.calls[string(m.Params.Cancelled)]; m.Method == "notifications/cancelled" {
			for i := range open {
				open[i].cancelled = true
			}
		}
		return
	}
	version := c.negotiated()
	if meta.Version != "" || m.Method == "server/discover" {
		version, c.modern = Modern, true
	}
	if c.calls == nil {
		c.calls, c.tokens = map[string][]call{}, map[string]string{}
	}
	c.calls[string(m.ID)] = append(c.calls[string(m.ID)], call{method: m.Method, version: version})
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

// batch gives the messages of a batch of 2025-03-26, or none.
func batch(line []byte) (items []json.RawMessage) {
	if json.Unmarshal(line, &items) != nil {
		return nil
	}
	return items
}

// Received judges a line of the server.
func (c *Conversation) Received(line []byte) error {
	if items := batch(line); items != nil && c.negotiated() == "2025-03-26" {
		for _, m := range items {
			if err := c.Received(m); err != nil {
				return err
			}
		}
		return nil
	}
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
	asked, known := c.take(m.ID, false)
	if !known {
		return errors.New("an answer to no request, or a second one")
	}
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

// take gives the first or the last call of an id, one that was cancelled only
// if there is no other: its id may be in use again.
func (c *Conversation) take(id json.RawMessage, last bool) (call, bool) {
	open := c.calls[string(id)]
	best := -1
	for i, a := range open {
		if best < 0 || (open[best].cancelled && !a.cancelled) || (last && open[best].cancelled == a.cancelled) {
			best = i
		}
	}
	if best < 0 {
		return call{}, false
	}
	a := open[best]
	if c.calls[string(id)] = slices.Delete(open, best, best+1); len(open) == 1 {
		delete(c.calls, string(id))
	}
	return a, true
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
	if asked, known := c.take(m.ID, true); known {
		version = asked.version
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
