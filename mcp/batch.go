package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// batchRevision is the one revision of the protocol that has batches.
const batchRevision = "2025-03-26"

// batch is the outlet of the requests of a batch: their answers go out together,
// everything else at once.
type batch struct {
	outlet
	mu      sync.Mutex
	answers [][]byte
}

func (b *batch) answer(message []byte, _ int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, message)
}

// finish sends the answers, if there are any: who sent notifications alone, or
// cancelled every call, gets none.
func (b *batch) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) > 0 {
		b.outlet.answer(append(append([]byte("["), bytes.Join(b.answers, []byte(","))...), ']'), 0)
	}
	b.answers = nil
}

// takesBatch tells whether text is a batch, from a client that may send one.
func (c *conn) takesBatch(text []byte) bool {
	version := c.version.Load()
	text = bytes.TrimLeft(text, " \t\r\n")
	deep, values := shape(text)
	return len(text) > 0 && text[0] == '[' && version != nil && *version == batchRevision && deep <= maxDepth && values <= maxValues && json.Valid(text)
}

// startBatch starts the requests of a batch, whose bytes are counted already. over
// ends when all of them are done or cancelled.
func (c *conn) startBatch(out outlet, text []byte) (b *batch, over context.Context) {
	b = &batch{outlet: out}
	var items []json.RawMessage
	_ = json.Unmarshal(text, &items) // takesBatch has looked
	if len(items) == 0 {
		c.respond(b, failure(codeInvalidRequest, "the batch is empty"))
	}
	rest := len(text)
	var works []context.Context
	for _, item := range items {
		m, refusal := parse(item)
		switch {
		case refusal == nil && m.kind == isRequest && m.method == string(mcpgo.MethodInitialize):
			f := failure(codeInvalidRequest, "initialize cannot be part of a batch")
			f.ID = m.ID
			refusal = &f
		case refusal == nil && m.kind == isNotification:
			c.notified(m)
		case refusal == nil && m.kind == isRequest:
			rest -= len(m.text)
			var r *request
			if r, refusal = c.call(b, m); refusal == nil {
				works = append(works, r.ctx)
				go r.run()
			}
		}
		if refusal != nil {
			c.respond(b, *refusal)
		}
	}
	c.load.hold(-rest)
	over, done := context.WithCancel(context.Background())
	go func() {
		defer done()
		for _, work := range works {
			<-work.Done()
		}
	}()
	return b, over
}
