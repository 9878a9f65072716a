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

// The pace of the watches. A task that lives tells of its changes; a list, an
// ended task, which may be resumed, and one that does not exist have to be
// looked at.
const (
	updateEvery  = time.Second     // at most one update a URI, and one look at a task or a list
	dormantEvery = 5 * time.Second // looks at what does not live
)

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
		go w.run(ctx, s.looker(ref))
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

func (w *watch) run(ctx context.Context, look func(context.Context) (state, error)) {
	// If this fails, whatever is seen first counts as a change: somebody may
	// have read something else meanwhile.
	was, _ := look(ctx)
	close(w.looked)
	for ctx.Err() == nil {
		if now, err := look(ctx); err == nil {
			w.publish(was, now)
			was = now
		}
		pause(ctx, updateEvery)
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

// looker gives a function that returns the state of ref: the first time at once,
// then when it may have changed. An error says nothing about the state.
func (s *Server) looker(ref string) func(context.Context) (state, error) {
	if f, ok := lists[ref]; ok {
		return func(ctx context.Context) (state, error) {
			page, err := s.svc.List(ctx, f)
			return listState(page), err
		}
	}
	var seen uint64
	first, lives := true, false
	return func(ctx context.Context) (state, error) {
		var t task.Task
		var err error
		if lives {
			t, err = engine.WaitFor(ctx, s.svc, ref, seen)
		} else {
			if !first {
				pause(ctx, dormantEvery-updateEvery)
			}
			t, err = s.svc.Get(ctx, ref)
		}
		first, lives, seen = false, err == nil && !t.Status.Ended(), t.Version
		if err == nil {
			return taskState(t), nil
		}
		if code := task.AsError(err).Code; code == task.CodeNotFound || code == task.CodeAmbiguous {
			return state{}, nil
		}
		return nil, err
	}
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
