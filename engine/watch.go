package engine

import (
	"context"
	"fmt"
	"time"

	"cctask/engine/runner"
)

// Looks at the runs of a site: they bound the age of progress, and where the site
// says nothing by itself how late an end is seen. Readers of output ask the site.
const (
	lookEvery = 100 * time.Millisecond
	lookEach  = time.Millisecond // more for each run: 100 of them are looked at every 100 ms
	lookMost  = 2 * time.Second
)

func lookPause(live int) time.Duration {
	return min(max(lookEvery, time.Duration(live)*lookEach), lookMost)
}

// watch looks at all live runs of a site in one question at a time, in place of a thread
// that waits for each. Those of which the site tells by itself it looks at rarely.
func (e *Engine) watch(at *post) {
	failed := time.Duration(0)
	whole := time.Now() // of the last look at all
	for {
		all, quiet := e.followed(at)
		pause := max(lookPause(len(all)-quiet), failed)
		var alarm <-chan time.Time
		arrived := at.attached
		switch {
		case len(all) > quiet:
			alarm, arrived = time.After(pause), nil
		case quiet > 0:
			pause = max(lookMost, failed)
			alarm = time.After(pause)
		}
		select {
		case <-arrived:
			if at.name != "" && !at.repaired {
				at.repaired = true
				e.wg.Go(func() { e.repairIdleLater(at) })
			}
			continue
		case <-alarm:
		case <-e.ctx.Done():
			return
		}
		if time.Since(whole) >= lookMost {
			quiet, whole = 0, time.Now()
		}
		if err := e.lookAll(at, all[quiet:]); err != nil {
			failed = min(max(time.Second, 2*failed), time.Minute)
			e.log.Warn().Err(err).Int("runs", len(all)).Msg("look at the live runs; trying again")
		} else {
			failed = 0
		}
	}
}

// lookAll tells each attempt what there is of its run. The error is of a site of which
// nothing answers.
func (e *Engine) lookAll(at *post, all []*attempt) error {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = runName(a.id, a.n)
	}
	if len(names) == 0 {
		return nil
	}
	seen, err := at.Look(e.ctx, names...)
	if e.ctx.Err() != nil {
		return nil
	}
	for i, a := range all {
		s, ok := seen[names[i]]
		switch {
		case ok:
		case err != nil:
			s = runner.Sight{Life: runner.Unknown, Why: err.Error()}
		default:
			s = notThere
		}
		a.tell(s)
	}
	if len(seen) > 0 { // some of its hosts answer
		err = nil
	}
	return err
}

// followed are the attempts whose runs are there to be looked at; the first so many
// are quiet: the site tells of them.
func (e *Engine) followed(at *post) (all []*attempt, quiet int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.live {
		if a.followedName() == "" || a.at != at {
			continue
		}
		if all = append(all, a); a.seen().Told {
			all[quiet], all[len(all)-1] = a, all[quiet]
			quiet++
		}
	}
	return all, quiet
}

// heard takes what the site tells by itself; without a name, that it may have room.
func (e *Engine) heard(at *post, name string, s runner.Sight) {
	if name == "" {
		e.mu.Lock()
		e.sched.open(at.obstacle())
		e.mu.Unlock()
		e.poke()
		return
	}
	id, _, _ := ParseRunName(name)
	e.mu.Lock()
	a := e.live[id]
	e.mu.Unlock()
	if a != nil && a.followedName() == name && a.at == at {
		a.tell(s)
	}
}

// lookAt asks for one run; nil if it is not there.
func (e *Engine) lookAt(ctx context.Context, at *post, name string) (*runner.Sight, error) {
	seen, err := at.Look(ctx, name)
	if s, ok := seen[name]; ok {
		return &s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the run %s: %w", name, err)
	}
	return nil, nil
}

// tell hands what was seen of the run to the attempt's goroutine. What is gone comes
// back no more: an older look that comes later is not believed.
func (a *attempt) tell(s runner.Sight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.sight
	if old.Life == runner.Gone {
		return
	}
	if s.Life == runner.Unknown && s.Rec.State == "" {
		s.Rec, s.Stdout, s.Stderr = old.Rec, old.Stdout, old.Stderr
	}
	a.sight = s
	if s.Life != old.Life || s.Stdout != old.Stdout || s.Stderr != old.Stderr || s.Rec.State != old.Rec.State {
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
}

// seen is what was told last.
func (a *attempt) seen() runner.Sight {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sight
}

// followedName is the name of the run that the site has; "" before and after.
func (a *attempt) followedName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news == nil || a.closed {
		return ""
	}
	return runName(a.id, a.n)
}
