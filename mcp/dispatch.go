package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// envelope is a JSON-RPC message with everything left as the client wrote it.
type envelope struct {
	JSONRPC json.RawMessage `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  json.RawMessage `json:"method"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// integer tells whether raw is the only number that may be an id or a progress token.
func integer(raw []byte) bool {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	return len(digits) > 0 && !bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
}

// handle keeps a string or an integer as the client wrote it; anything else
// is nil.
func handle(raw json.RawMessage) json.RawMessage {
	if len(raw) > 0 && (raw[0] == '"' || integer(raw)) && utf8.Valid(raw) {
		return raw
	}
	return nil
}

// accept takes one line of the client, and gives the request that it is, to be run. It
// runs on the reading goroutine and must not wait for a task or for the owner.
func (c *conn) accept(line []byte) *request {
	if c.takesBatch(line) {
		if line = bytes.TrimSpace(line); c.load.admit(len(line)) {
			b, over := c.startBatch(c.out, line)
			counted := c.load.begin() // so that the end of the input waits for the answers
			context.AfterFunc(over, func() {
				b.finish()
				if counted {
					c.load.end()
				}
			})
		}
		return nil
	}
	m, refusal := parse(line)
	switch {
	case refusal != nil:
		c.respond(c.out, *refusal)
	case m.kind == isNotification:
		c.notified(m)
	case m.kind == isRequest:
		if !c.load.admit(len(m.text)) {
			return nil // the server ends
		}
		r, f := c.call(c.out, m)
		if f == nil {
			return r
		}
		c.respond(c.out, *f)
	}
	return nil
}

// The kinds of messages of a client. A response is none: we ask nothing of it.
const (
	isNothing = iota
	isNotification
	isRequest
)

type incoming struct {
	envelope
	text   []byte
	method string
	kind   int
}

// parse takes a message apart, or says why it is none.
func parse(line []byte) (m incoming, refusal *response) {
	m.text = bytes.TrimSpace(line)
	refuse := func(code int, why string) (incoming, *response) {
		f := failure(code, "%s", why)
		f.ID = handle(m.ID)
		return m, &f
	}
	deepest, values := shape(m.text)
	switch {
	case len(m.text) == 0:
		return m, nil
	case deepest > maxDepth:
		m.ID = cut(m.text, nil).id()
		return refuse(codeInvalidRequest, fmt.Sprintf("the message is nested more than %d levels deep", maxDepth))
	case values > maxValues:
		m.ID = cut(m.text, nil).id()
		return refuse(codeInvalidRequest, fmt.Sprintf("the message has more than %d values", maxValues))
	case !json.Valid(m.text):
		return refuse(codeParse, "not a JSON message")
	case m.text[0] == '[':
		return refuse(codeInvalidRequest, "batches are part of no protocol version but "+batchRevision+": send one message at a time")
	case m.text[0] != '{':
		return refuse(codeInvalidRequest, "a message is a JSON object")
	}
	all := members(m.text)
	m.envelope = envelope{all["jsonrpc"], all["id"], all["method"], all["params"], all["result"], all["error"]}
	switch {
	case m.Method == nil && m.ID != nil && (m.Result != nil || m.Error != nil):
		return m, nil
	case string(m.JSONRPC) != `"2.0"`:
		return refuse(codeInvalidRequest, `jsonrpc must be "2.0"`)
	case json.Unmarshal(m.Method, &m.method) != nil || m.method == "":
		return refuse(codeInvalidRequest, "method must be a string")
	case m.ID == nil:
		m.kind = isNotification
		return m, nil
	case handle(m.ID) == nil:
		return refuse(codeInvalidRequest, "id must be a string or an integer")
	case !utf8.Valid(m.text):
		// encoding/json would replace the bytes, and a prompt would not
		// arrive as it was sent.
		return refuse(codeInvalidRequest, "the message is not valid UTF-8")
	}
	m.kind = isRequest
	return m, nil
}

// notified takes a notification, which is never answered. Of what clients tell only
// one thing matters.
func (c *conn) notified(m incoming) {
	if m.method != "notifications/cancelled" {
		return
	}
	var p struct {
		RequestID json.RawMessage `json:"requestId"`
		Reason    string          `json:"reason"`
	}
	// A reason of another type is no reason; the id counts all the same.
	_ = json.Unmarshal(m.Params, &p)
	c.cancelRequest(p.RequestID, p.Reason)
}

// call makes a request of a message, whose bytes are counted already. It is to be run.
// What it sends goes to out. Its context ends with it, for the reason that it ends.
func (c *conn) call(out outlet, m incoming) (r *request, refusal *response) {
	ctx, cancel := context.WithCancelCause(c.base)
	r = &request{conn: c, out: out, id: bytes.Clone(m.ID), method: m.method, ctx: ctx, cancel: cancel, message: m}
	if f := c.start(r, len(m.text)); f != nil {
		cancel(nil)
		c.load.hold(-len(m.text))
		return nil, &response{ID: r.id, Error: f}
	}
	return r, nil
}

// progressToken gives the token, in a request's _meta, of a client that wants to
// hear how the request goes on.
func progressToken(raw json.RawMessage) json.RawMessage {
	var meta struct {
		Token json.RawMessage `json:"progressToken"`
	}
	if json.Unmarshal(raw, &meta) != nil {
		return nil
	}
	return handle(meta.Token)
}

func (c *conn) greet(params map[string]json.RawMessage) {
	var info struct{ Name string }
	if json.Unmarshal(params["clientInfo"], &info) == nil {
		c.clientName.Store(&info.Name)
	}
	var version string
	if json.Unmarshal(params["protocolVersion"], &version) == nil {
		c.version.Store(&version)
	}
}

func (r *request) run() {
	ctx, m := r.ctx, r.message
	r.message = incoming{} // which may be megabytes
	start := time.Now()
	defer r.conn.load.end()
	defer func() { r.conn.load.hold(-int(r.held.Swap(0))) }()
	defer r.cancel(nil)
	defer r.conn.recovered(r.method, r)
	result, err := r.result(ctx, m)
	if err != nil {
		r.answer(response{Error: r.faultOf(err)})
	} else {
		r.answer(response{Result: result})
	}
	r.conn.srv.log.Debug().Str("method", r.method).Dur("took", time.Since(start)).Msg("request")
}

func (r *request) result(ctx context.Context, m incoming) (any, error) {
	p, bad := checkParams(r.method, m.Params)
	if bad != nil {
		return nil, bad
	}
	s := r.conn.srv
	own, ok := s.methods[r.method]
	if !ok {
		if r.method == string(mcpgo.MethodInitialize) {
			r.conn.greet(p)
		}
		return fromMCPGo(r.method, s.mcp.HandleMessage(ctx, m.text))
	}
	if r.info, bad = protocolOf(p["_meta"]); bad != nil {
		return nil, bad
	}
	switch {
	case own.era >= modern && !r.info.Modern:
		return nil, failure(mcpgo.METHOD_NOT_FOUND, "%q requires protocol version %s or later", r.method, mcpgo.ProtocolVersion20260728).Error
	case own.era == legacy && r.info.Modern:
		return nil, failure(mcpgo.METHOD_NOT_FOUND, "%q was removed in protocol version %s", r.method, mcpgo.ProtocolVersion20260728).Error
	case own.era == ofTasks && !r.declaresTasks():
		return nil, errNoExtension
	}
	r.token = progressToken(p["_meta"])
	result, err := own.answer(ctx, r, p)
	if err == nil && r.info.Modern {
		s.sign(result)
	}
	return result, err
}

// recovered keeps a fault in one request from ending the server, and answers
// the request.
func (c *conn) recovered(method string, r *request) {
	p := recover()
	if p == nil {
		return
	}
	c.srv.log.Error().Any("panic", p).Str("method", method).Bytes("stack", debug.Stack()).Msg("a request failed")
	if r != nil {
		r.answer(failure(codeInternal, "internal: a fault of cctask; see its log"))
	}
}

// fromMCPGo takes mcp-go's answer without its id, which has been through a float.
func fromMCPGo(method string, m mcpgo.JSONRPCMessage) (any, error) {
	switch v := m.(type) {
	case mcpgo.JSONRPCResponse:
		return v.Result, nil
	case mcpgo.JSONRPCError:
		e := &responseError{Code: v.Error.Code, Message: clip(v.Error.Message, 1000), Data: v.Error.Data} // it may have the method, of any length
		switch {
		case e.Code == mcpgo.INVALID_REQUEST:
			// The message is a request: only its params could not be decoded.
			e = failure(mcpgo.INVALID_PARAMS, "the params are not those of the method").Error
		case e.Code == mcpgo.METHOD_NOT_FOUND && method == string(mcpgo.MethodServerDiscover):
			// It is there; what is missing is what says that the client may ask.
			e.Code, e.Message = mcpgo.INVALID_PARAMS, method+": _meta: "+mcpgo.MetaKeyProtocolVersion+" must be there, and 2026-07-28 or later; earlier ones start with initialize"
		}
		return nil, e
	case nil:
		// mcp-go takes a request that also has a result for a response.
		return nil, failure(codeInvalidRequest, "a request has no result").Error
	}
	return nil, failure(codeInternal, "internal: unexpected answer %T", m).Error
}
