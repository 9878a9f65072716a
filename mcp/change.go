package mcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// updateEvery is the pace of the watches: at most one update a URI, and one look at a
// task or a list.
const updateEvery = time.Second

// watches has one watch for each task or list that somebody listens to, however
// many do. The zero value works.
type watches struct {
	mu    sync.Mutex
	byRef map[string]*watch
}

// watch follows a task, or a list of tasks, for those who listen.
type watch struct {
	of     *watches
	ref    string
	cancel context.CancelFunc
	looked chan struct{} // closed after the first look: what changes from then on is told
	subs   map[subscriber]string
}

type subscriber struct {
	listener *listener
	uri      string
}

// state sums up what can be read of a task or a list: a text for each part (""
// is the object, the others are streams) that changes with its content. A nil
// state is one that nobody has seen.
type state map[string]string

// foreign tells that a URI can never name anything of ours.
func foreign(uri string) bool {
	ref, part, _, err := splitURI(uri)
	return err != nil || ref == "" || !strings.HasPrefix(uri, uriScheme) ||
		!slices.Contains([]task.Stream{"", task.Stdout, task.Stderr, task.Result, task.Prompt}, task.Stream(part))
}

// join has l told when what uri, which is not foreign, names changes.
func (s *Server) join(l *listener, uri string) *watch {
	ref, part, _, _ := splitURI(uri)
	ws := &s.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.byRef[ref]
	if w == nil {
		// It belongs to all listeners: it must not end with the first one.
		ctx, cancel := context.WithCancel(context.Background())
		w = &watch{of: ws, ref: ref, cancel: cancel, looked: make(chan struct{}), subs: map[subscriber]string{}}
		if ws.byRef == nil {
			ws.byRef = map[string]*watch{}
		}
		ws.byRef[ref] = w
		go w.run(ctx, s)
	}
	w.subs[subscriber{l, uri}] = part
	return w
}

// leave undoes join; the last one to leave ends the watch.
func (w *watch) leave(l *listener, uri string) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.subs, subscriber{l, uri})
	if len(w.subs) == 0 {
		w.cancel()
		delete(w.of.byRef, w.ref)
	}
}

func (w *watch) run(ctx context.Context, s *Server) {
	var of engine.Scope // a list, or a name that may come to mean another task: all
	if id, err := task.ParseID(w.ref); err == nil {
		of.IDs = []task.ID{id}
	}
	changes := s.svc.Watch(of)
	defer changes.Close()
	// If this fails, whatever is seen first counts as a change: somebody may
	// have read something else meanwhile.
	was, _ := s.current(ctx, w.ref)
	close(w.looked)
	for again := false; ctx.Err() == nil; pause(ctx, updateEvery) {
		if !again { // nobody tells of what was before the first of these, so that a look follows it
			if _, err := changes.Next(ctx); err != nil {
				continue
			}
		}
		now, err := s.current(ctx, w.ref)
		if again = err != nil; !again {
			w.publish(was, now)
			was = now
		}
	}
}

// publish tells those who listen to a part that has changed. It never blocks.
func (w *watch) publish(was, now state) {
	if was != nil && maps.Equal(was, now) {
		return
	}
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for sub, part := range w.subs {
		before, had := was[part]
		after, has := now[part]
		if before != after || had != has {
			sub.listener.mark(sub.uri)
		}
	}
}

// current is the state of a ref. An error says nothing about it.
func (s *Server) current(ctx context.Context, ref string) (state, error) {
	if f, ok := lists[ref]; ok {
		page, err := s.svc.List(ctx, f)
		return listState(page), err
	}
	t, err := s.svc.Get(ctx, ref)
	if err == nil {
		return taskState(t), nil
	}
	if code := task.AsError(err).Code; code == task.CodeNotFound || code == task.CodeAmbiguous {
		return state{}, nil
	}
	return nil, err
}

func taskState(t task.Task) state {
	attempt := fmt.Sprint(t.Attempt)
	st := state{
		string(task.Stdout): fmt.Sprint(attempt, " ", t.StdoutBytes),
		string(task.Stderr): fmt.Sprint(attempt, " ", t.StderrBytes),
		string(task.Result): fmt.Sprint(attempt, " ", t.ResultBytes),
		string(task.Prompt): attempt,
	}
	// Another owner counts other versions of the same task.
	t.Version, t.Attempts, t.Result = 0, nil, nil
	if data, err := encode(t); err == nil {
		st[""] = string(data)
	}
	return st
}

func listState(p task.Page) state {
	var b strings.Builder
	for _, t := range p.Tasks {
		if t.Status.Ended() {
			t.Version = 0
		}
		fmt.Fprintln(&b, t.ID, t.Status, t.Attempt, t.Version)
	}
	return state{"": b.String()}
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
