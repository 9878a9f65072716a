package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

func newServer(o *Owner, b Backend) *server {
	s := &server{
		o: o, b: b, mux: http.NewServeMux(), began: time.Now(), busy: time.Now(),
		cut: make(chan struct{}), empty: make(chan struct{}), told: make(chan error, 1),
	}
	ref := func(f func(context.Context, string) (task.Task, error)) http.HandlerFunc {
		return answer(s, func(ctx context.Context, r refRequest) (task.Task, error) { return f(ctx, r.Ref) })
	}
	again := func(f func(context.Context, engine.Again) (task.Task, error)) http.HandlerFunc {
		return answer(s, func(ctx context.Context, r againRequest) (task.Task, error) { return f(ctx, r.again()) })
	}
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /v1/hello": answer(s, func(context.Context, none) (Hello, error) { return s.hello(), nil }),
		"POST /v1/submit": answer(s, func(ctx context.Context, r submitRequest) (task.Task, error) {
			return b.Submit(ctx, r.submission())
		}),
		"GET /v1/policy":  answer(s, func(context.Context, none) (task.Policy, error) { return b.Policy() }),
		"POST /v1/get":    ref(b.Get),
		"POST /v1/list":   answer(s, b.List),
		"POST /v1/output": answer(s, b.Output),
		"POST /v1/page": answer(s, func(_ context.Context, q task.DumpQuery) (task.DumpPage, error) {
			return b.Page(q)
		}),
		"POST /v1/stream": answer(s, func(_ context.Context, r streamRequest) ([]byte, error) {
			return b.Stream(r.ID, r.Attempt, r.Stream, r.Offset, min(r.Limit, engine.MaxOutputPiece))
		}),
		"POST /v1/cancel": ref(b.Cancel),
		"POST /v1/resume": again(b.Resume),
		"POST /v1/retry":  again(b.Retry),
		"POST /v1/remove": answer(s, func(ctx context.Context, r refRequest) (none, error) {
			return none{}, b.Remove(ctx, r.Ref, r.Force)
		}),
		"POST /v1/ended": answer(s, func(_ context.Context, r endedRequest) (none, error) {
			b.Ended(r.Run)
			return none{}, nil
		}),
		"POST /v1/stop":  answer(s, s.stop),
		"GET /v1/events": s.events,
	} {
		s.mux.HandleFunc(pattern, handler)
	}
	return s
}

func (s *server) hello() Hello {
	st := s.b.Stats()
	h := Hello{Lock: s.o.Record(), Live: st.Live, Queued: st.Queued, Uptime: time.Since(s.began)}
	if s.o.Notice != nil {
		h.Notice = s.o.Notice()
	}
	return h
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		w.Header().Set("Connection", "close")
		writeError(w, closingError())
		return
	}
	defer s.leave()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		s.o.log(fmt.Sprintf("panic in %s: %v\n%s", r.URL.Path, p, debug.Stack()))
		writeError(w, fmt.Errorf("panic in %s: %v", r.URL.Path, p))
	}()
	l := s.o.Record()
	if v := r.Header.Get(protocolHeader); v != strconv.Itoa(Protocol) {
		writeError(w, versionError(l.Version, strconv.Itoa(Protocol), v))
		return
	}
	if who := r.Header.Get(ownerHeader); who != l.identity() {
		// The front believes to speak to a predecessor. It must know whom it
		// speaks to, or it could kill the wrong one when this one hangs.
		writeError(w, closingError())
		return
	}
	if err := s.lost(); err != nil && r.URL.Path != "/v1/stop" {
		writeError(w, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// answer makes a handler: one JSON value in, one out.
func answer[In, Out any](s *server, f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in, err := readRequest[In](r)
		if err != nil {
			writeError(w, err)
			return
		}
		out, err := f(r.Context(), in)
		// What the owner itself has cut off did not fail: the next one does it.
		if err != nil && r.Context().Err() != nil && s.isClosing() {
			err = closingError()
		}
		if err != nil {
			// What it met may be the end of the owner.
			_ = s.lost()
			writeError(w, err)
			return
		}
		body, err := encode(out)
		if err != nil {
			writeError(w, err)
			return
		}
		write(w, http.StatusOK, body)
	}
}

func readRequest[In any](r *http.Request) (in In, err error) {
	b, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return in, &task.Error{
			Code: task.CodeInvalid, Message: fmt.Sprintf("the request has more than %d bytes", large.Limit),
			Hint: "Put the material into a file in the working directory and name the file in the prompt.",
		}
	case err != nil:
		return in, fmt.Errorf("read the request: %w", err)
	case len(b) == 0:
		return in, nil
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return in, &task.Error{Code: task.CodeInvalid, Message: "the request is not understood", Err: err, Hint: "Ask with the same version of cctask as the owner's."}
	}
	return in, nil
}

func writeError(w http.ResponseWriter, err error) {
	e := task.AsError(err)
	body, err := encode(e)
	if err != nil {
		body = []byte(`{"code":"internal"}`)
	}
	write(w, refused, body)
}

// write sends a whole answer before the request counts as done, so that an
// owner that leaves at that moment does not cut it off.
func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A front that is gone needs no answer.
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
}

// events streams the changes of all tasks, a JSON object a line, each task's
// newest. A blank line is a heartbeat. It subscribes before it answers: a front
// that has the answer misses nothing from then on.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	if err := s.b.MayChange(); err != nil {
		writeError(w, err)
		return
	}
	sub := s.b.Subscribe("")
	defer sub.Close()
	ctx, cancel := s.untilCut(r)
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctl := http.NewResponseController(w)
	for ctl.Flush() == nil {
		evs, err := nextEvents(ctx, sub)
		if err != nil {
			return
		}
		// A front that was stopped must not hold a request in flight for ever.
		_ = ctl.SetWriteDeadline(time.Now().Add(2 * heartbeat))
		if writeEvents(w, evs) != nil {
			return
		}
	}
}

// untilCut is a stream's context: it ends with the request, and when the owner leaves.
func (s *server) untilCut(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		select {
		case <-s.cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// nextEvents returns nothing after a heartbeat's time without any.
func nextEvents(ctx context.Context, sub *engine.Subscription) ([]engine.Event, error) {
	beat, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	evs, err := sub.Next(beat)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return evs, err
}

func writeEvents(w io.Writer, evs []engine.Event) error {
	if len(evs) == 0 {
		_, err := io.WriteString(w, "\n")
		return err
	}
	enc := json.NewEncoder(w)
	for _, ev := range evs {
		if err := enc.Encode(ev); err != nil {
			return err
		}
	}
	return nil
}
