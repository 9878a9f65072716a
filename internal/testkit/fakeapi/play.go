package fakeapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// deltaSize is the most text, in bytes, that one content_block_delta carries.
const deltaSize = 16 << 10

// errGone ends a turn whose client or server has ended.
var errGone = errors.New("client or server gone")

// play answers one request with a turn.
func (s *Server) play(ctx context.Context, w http.ResponseWriter, c Conversation, t Turn) error {
	var out sink = &whole{answer: newAnswer(w, c, t)}
	if c.Stream {
		out = &stream{answer: newAnswer(w, c, t)}
	}
	for _, step := range t.Steps {
		if step.Fail != nil {
			return writeFailure(w, *step.Fail)
		}
		if err := s.step(ctx, out, step); err != nil {
			return err
		}
	}
	return out.finish()
}

func (s *Server) step(ctx context.Context, out sink, step Step) error {
	switch {
	case step.Tool != nil:
		return out.tool(*step.Tool)
	case step.Hold != "":
		return s.hold(ctx, step.Hold)
	case step.Hang:
		return s.wait(ctx, nil)
	case step.Drop:
		panic(http.ErrAbortHandler) // net/http then cuts the connection without a last chunk
	case step.Delay > 0:
		timer := time.NewTimer(step.Delay)
		defer timer.Stop()
		return waitAny(ctx, s.done, timer.C)
	default:
		return out.text(step.Text)
	}
}

// wait blocks until ready is closed; nil is never.
func (s *Server) wait(ctx context.Context, ready <-chan struct{}) error {
	return waitAny(ctx, s.done, ready)
}

func waitAny[T any](ctx context.Context, done <-chan struct{}, ready <-chan T) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return errGone
	case <-done:
		return errGone
	}
}

// sink is one of the two forms of an answer.
type sink interface {
	text(string) error
	tool(ToolUse) error
	finish() error
}

type object = map[string]any

// answer is what both forms share.
type answer struct {
	w     http.ResponseWriter
	id    string
	model string
	stop  string
	usage Usage
}

func newAnswer(w http.ResponseWriter, c Conversation, t Turn) answer {
	return answer{w: w, id: "msg_" + rand.Text(), model: c.Model, stop: t.stop(), usage: t.usage()}
}

func (a *answer) message(content []any, stop any, output int) object {
	return object{
		"id": a.id, "type": "message", "role": "assistant", "model": a.model, "content": content,
		"stop_reason": stop, "stop_sequence": nil, "usage": object{
			"input_tokens": a.usage.Input, "output_tokens": output,
			"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
		},
	}
}

func toolBlock(name string, input any) object {
	return object{"type": "tool_use", "id": "toolu_" + rand.Text(), "name": name, "input": input}
}

// whole is the answer to stream=false: one JSON object at the end.
type whole struct {
	answer
	content []any
	open    object // the text block that more text is added to
}

func (a *whole) text(s string) error {
	if a.open == nil {
		a.open = object{"type": "text", "text": ""}
		a.content = append(a.content, a.open)
	}
	a.open["text"] = a.open["text"].(string) + s
	return nil
}

func (a *whole) tool(u ToolUse) error {
	a.open = nil
	a.content = append(a.content, toolBlock(u.Name, u.Input))
	return nil
}

func (a *whole) finish() error {
	return writeJSON(a.w, http.StatusOK, a.message(a.content, a.stop, a.usage.Output))
}

// stream is the answer in server-sent events, flushed one by one.
type stream struct {
	answer
	started bool
	open    bool // a text block is open
	index   int
}

func (a *stream) emit(kind string, e object) error {
	e["type"] = kind
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", kind, err)
	}
	if _, err := fmt.Fprintf(a.w, "event: %s\ndata: %s\n\n", kind, data); err != nil {
		return errGone
	}
	if err := http.NewResponseController(a.w).Flush(); err != nil {
		return errGone
	}
	return nil
}

func (a *stream) start() error {
	if a.started {
		return nil
	}
	a.started = true
	a.w.Header().Set("Content-Type", "text/event-stream")
	return a.emit("message_start", object{"message": a.message([]any{}, nil, 1)})
}

func (a *stream) openBlock(block object) error {
	if err := a.start(); err != nil {
		return err
	}
	return a.emit("content_block_start", object{"index": a.index, "content_block": block})
}

func (a *stream) closeBlock() error {
	a.open = false
	a.index++
	return a.emit("content_block_stop", object{"index": a.index - 1})
}

func (a *stream) delta(d object) error {
	return a.emit("content_block_delta", object{"index": a.index, "delta": d})
}

func (a *stream) text(s string) error {
	if !a.open {
		if err := a.openBlock(object{"type": "text", "text": ""}); err != nil {
			return err
		}
		a.open = true
	}
	for s != "" {
		n := cut(s, deltaSize)
		if err := a.delta(object{"type": "text_delta", "text": s[:n]}); err != nil {
			return err
		}
		s = s[n:]
	}
	return nil
}

// cut is the largest length up to limit that splits no rune.
func cut(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return limit
}

func (a *stream) tool(u ToolUse) error {
	if a.open {
		if err := a.closeBlock(); err != nil {
			return err
		}
	}
	input, err := json.Marshal(u.Input)
	if err != nil {
		return fmt.Errorf("encode the input of %s: %w", u.Name, err)
	}
	if err := a.openBlock(toolBlock(u.Name, object{})); err != nil {
		return err
	}
	if err := a.delta(object{"type": "input_json_delta", "partial_json": string(input)}); err != nil {
		return err
	}
	return a.closeBlock()
}

func (a *stream) finish() error {
	if err := a.start(); err != nil {
		return err
	}
	if a.open {
		if err := a.closeBlock(); err != nil {
			return err
		}
	}
	done := object{"stop_reason": a.stop, "stop_sequence": nil}
	if err := a.emit("message_delta", object{"delta": done, "usage": object{"output_tokens": a.usage.Output}}); err != nil {
		return err
	}
	return a.emit("message_stop", object{})
}

// errorTypes are the names that the API gives to a status.
var errorTypes = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
	404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
}

func writeFailure(w http.ResponseWriter, f Failure) error {
	kind, ok := errorTypes[f.Status]
	if !ok {
		kind = "api_error"
	}
	if f.Message == "" {
		f.Message = "scripted " + kind
	}
	if f.Limit {
		h := w.Header()
		h.Set("anthropic-ratelimit-unified-status", "rejected")
		h.Set("anthropic-ratelimit-unified-representative-claim", "five_hour")
		h.Set("anthropic-ratelimit-unified-reset", strconv.FormatInt(time.Now().Add(f.After).Unix(), 10))
	} else if f.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.After.Seconds())))
	}
	return writeJSON(w, f.Status, object{"type": "error", "error": object{"type": kind, "message": f.Message}})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return errGone
	}
	return nil
}
