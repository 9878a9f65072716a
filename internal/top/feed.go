package top

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"cctask/engine"
	"cctask/engine/task"
)

const (
	// lookEvery bounds how often the tasks are asked for; a look that takes long
	// is repeated less often.
	lookEvery  = 250 * time.Millisecond
	retryEvery = time.Second // while nobody answers
	// The most tasks of a kind: more than anybody looks through here.
	mostLive, mostQueued, mostEnded = 500, 200, 100
	// logPiece is what is read of a log at once. Of a longer one the end is shown.
	logPiece = 256 << 10
)

// feed asks the engine. Only one follow runs at a time.
type feed struct {
	ctx   context.Context
	svc   engine.Service
	watch engine.Watch
	due   time.Time // of the next look
	stale bool      // the ended tasks are to be asked for again
	ended task.Page // as of the last end
}

// snapshot is what a look saw, or that nobody answers.
type snapshot struct {
	at    time.Time
	tasks []task.Task // running ones, queued ones, ended ones
	more  map[string]bool
	err   error
}

type piece struct {
	id      task.ID
	attempt int
	out     task.Output
	err     error
}

type acted struct {
	text string
	err  error
}

// broken is a panic beside the event loop. The model panics with it there, where
// the terminal is restored before the trace is printed.
type broken struct{ text string }

func guarded(cmd tea.Cmd) tea.Cmd {
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = broken{fmt.Sprintf("%v\n\n%s", r, debug.Stack())}
			}
		}()
		return cmd()
	}
}

// follow waits for the next change and looks. Pausing comes first, so that a
// change after a quiet time is seen at once, and many soon after count as one.
func (f *feed) follow() tea.Msg {
	if !pause(f.ctx, time.Until(f.due)) {
		return nil
	}
	evs, err := f.watch.Next(f.ctx)
	f.stale = f.stale || len(evs) == 0 || slices.ContainsFunc(evs, func(ev engine.Event) bool { return ev.Ended })
	began := time.Now()
	s := snapshot{err: err}
	if err == nil {
		s, err = f.look()
		s.err = err
	}
	if f.ctx.Err() != nil {
		return nil
	}
	s.at = time.Now()
	f.due = s.at.Add(max(lookEvery, 10*s.at.Sub(began)))
	if err != nil {
		// What went by meanwhile is unknown.
		f.stale, f.due = true, s.at.Add(retryEvery)
	}
	return s
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// look asks in the order of a task's life, so that one that moves on meanwhile is
// seen twice and not missed.
func (f *feed) look() (snapshot, error) {
	queued, err := f.svc.List(f.ctx, task.Filter{Statuses: []task.Status{task.Queued}, Reverse: true, Limit: mostQueued})
	if err != nil {
		return snapshot{}, fmt.Errorf("list the queue: %w", err)
	}
	live, err := f.svc.List(f.ctx, task.Filter{Statuses: []task.Status{task.Starting, task.Running}, Limit: mostLive})
	if err != nil {
		return snapshot{}, fmt.Errorf("list what runs: %w", err)
	}
	if f.stale {
		f.ended, err = f.svc.List(f.ctx, task.Filter{Statuses: slices.DeleteFunc(slices.Clone(task.Statuses), func(s task.Status) bool {
			return !s.Ended()
		}), Sort: task.ByEnded, Limit: mostEnded})
		if err != nil {
			return snapshot{}, fmt.Errorf("list what has ended: %w", err)
		}
		f.stale = false
	}
	newest := map[task.ID]task.Task{}
	for _, t := range slices.Concat(queued.Tasks, live.Tasks, f.ended.Tasks) {
		if have, ok := newest[t.ID]; !ok || len(t.History) > len(have.History) {
			newest[t.ID] = t
		}
	}
	s := snapshot{more: map[string]bool{"queued": queued.NextCursor != "", "running": live.NextCursor != "", "ended": f.ended.NextCursor != ""}}
	for _, t := range newest {
		s.tasks = append(s.tasks, t)
	}
	slices.SortFunc(s.tasks, inLine)
	return s, nil
}

// inLine orders tasks as they go: running ones by their start, the queue behind
// them, and then what ended last.
func inLine(a, b task.Task) int {
	place := func(t task.Task) int {
		switch {
		case t.Status.Live():
			return 0
		case t.Status == task.Queued:
			return 1
		}
		return 2
	}
	if c := cmp.Compare(place(a), place(b)); c != 0 {
		return c
	}
	c := 0
	switch place(a) {
	case 1:
		c = cmp.Compare(a.Seq, b.Seq)
	case 2:
		c = b.FinishedAt.Compare(a.FinishedAt)
	}
	return cmp.Or(c, cmp.Compare(a.ID, b.ID))
}

func (f *feed) read(q engine.OutputQuery) tea.Cmd {
	return guarded(func() tea.Msg {
		out, err := f.svc.Output(f.ctx, q)
		return piece{task.ID(q.Ref), q.Attempt, out, err}
	})
}

// act does what the person asked for; tell says that it is done.
func (f *feed) act(call func(context.Context) (task.Task, error), tell func(task.Task) string) tea.Cmd {
	return guarded(func() tea.Msg {
		t, err := call(f.ctx)
		if err != nil {
			return acted{err: err}
		}
		return acted{text: tell(t)}
	})
}
