package engine

import (
	"fmt"
	"time"

	"cctask/engine/runner"
	"cctask/engine/task"
)

// pulse is what the watchdog knows of a claude that is up.
type pulse struct {
	quiet    time.Duration // since its start or its last event
	begun    bool          // init has come
	busy     bool          // it waits for something of its own: a tool, a subagent, a retry
	resulted bool          // a result came, and nothing of the model after it
	strain   float64       // how many times slower than usual claudes start at the moment
}

// silences are how long a claude may be silent; 0: for ever.
type silences struct {
	startup  time.Duration // before its first event
	stall    time.Duration // while the model is at it
	answered time.Duration // after its last result
}

func (e *Engine) silences(t *task.Task) silences {
	return silences{startup: e.cfg.Startup, stall: t.Spec.Stall(), answered: e.cfg.Answered}
}

// verdict is what the watchdog makes of a pulse.
type verdict struct {
	stop    task.StopReason // "": it goes on
	stalled string          // at half of the time: what people are told
	again   time.Duration   // when to ask again though nothing has come; 0: never
}

// judgeSilence decides whether a claude hangs, beside plan, choose and next.
func judgeSilence(p pulse, most silences) verdict {
	limit, why := most.stall, task.StopStall
	switch {
	case p.busy:
		return verdict{}
	case p.resulted:
		limit, why = most.answered, task.StopAnswered
	case !p.begun:
		limit, why = time.Duration(float64(most.startup)*max(1, p.strain)), task.StopStartup
	}
	half := limit / 2
	switch {
	case limit == 0:
		return verdict{}
	case p.quiet >= limit:
		return verdict{stop: why}
	case p.resulted:
		return verdict{again: limit - p.quiet}
	case p.quiet < half:
		return verdict{again: half - p.quiet}
	}
	return verdict{
		stalled: fmt.Sprintf("nothing for %s, stopped at %s", task.SpanText(half.Round(time.Second)), task.SpanText(limit.Round(time.Second))),
		again:   limit - p.quiet,
	}
}

// startups measures how fast claudes start: by the processor, so that many at once,
// or anything else that the machine does, makes each slower.
type startups struct {
	pending map[task.ID]bool // started, and without init
	took    time.Duration    // the last one until its init
}

// mostStrain bounds what a machine that starts nothing any more is believed.
const mostStrain = 10

// strain compares with what the gate reckons with: so many start-ups at once, each of
// at most gateTime.
func (s *startups) strain(atOnce int) float64 {
	return min(mostStrain, max(1, float64(len(s.pending))/float64(atOnce), float64(s.took)/float64(gateTime)))
}

// startsUp counts an attempt that has no init yet, until it has or ends.
func (e *Engine) startsUp(id task.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.startups.pending[id] = true
}

// hasInit takes note of a first event after so long; 0 if it was not seen from the start.
func (e *Engine) hasInit(id task.ID, after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.startups.pending[id] && after > 0 {
		e.startups.took = after
	}
	delete(e.startups.pending, id)
}

// guard is the watch over one claude's silence.
type guard struct {
	heard time.Time // its start, or its last event; no earlier than this owner follows it
	due   time.Time // when it is to be judged next; zero: not before the next event
	blind time.Time // since when it cannot be heard: its site does not answer, or has no room yet
	begun bool
	told  bool // that it has stalled, since it was heard
}

// late is a look so far behind its time that this process was stopped, and the
// machine asleep, rather than claude silent.
const late = 5 * time.Second

// watched judges the silence of the attempt's claude, and tells when to judge again.
func (f *follower) watched(s runner.Sight) <-chan time.Time {
	a, g, now := f.a, &f.guard, time.Now()
	if g.unheard(now, s.Life == runner.Up); s.Life != runner.Up || a.whyStopped() != "" {
		return nil
	}
	p := f.parser.Progress()
	a.e.mu.Lock()
	strain := a.e.startups.strain(a.e.sched.limits.startups)
	a.e.mu.Unlock()
	v := judgeSilence(pulse{
		quiet: now.Sub(g.heard), begun: p.SawInit, resulted: p.Resulted, strain: strain,
		busy: p.OpenTools > 0 || p.Background > 0 || p.Retrying != "",
	}, a.silences)
	if v.stop != "" {
		if f.unread() {
			return time.After(lookEvery)
		}
		a.e.log.Warn().Str("task", string(a.id)).Str("reason", string(v.stop)).Dur("silent", now.Sub(g.heard)).Msg("stop a claude that is silent")
		a.stop(v.stop)
		return nil
	}
	if v.stalled != "" && !g.told {
		g.told = true
		a.e.log.Warn().Str("task", string(a.id)).Str("claude", v.stalled).Msg("stalled")
		a.mu.Lock()
		a.progress.Stalled = v.stalled
		a.mu.Unlock()
		a.e.publish(a.id, false)
	}
	if v.again == 0 {
		return nil
	}
	g.due = now.Add(v.again)
	return time.After(v.again)
}

// unread looks once more before a stop: what was seen last is a look old.
func (f *follower) unread() bool {
	s, err := f.a.e.lookAt(f.a.e.ctx, f.a.at, f.name)
	if err != nil || s == nil {
		return true
	}
	f.a.tell(*s)
	return s.Life != runner.Up || f.seen != [2]int64{s.Stdout, s.Stderr}
}

// unheard takes out the time for which nobody can tell whether claude was silent.
func (g *guard) unheard(now time.Time, up bool) {
	if !g.blind.IsZero() {
		g.heard = g.heard.Add(now.Sub(g.blind))
	} else if !g.due.IsZero() && now.Sub(g.due) > late {
		g.heard = g.heard.Add(now.Sub(g.due))
	}
	if g.due, g.blind = (time.Time{}), (time.Time{}); !up {
		g.blind = now
	}
}

// hears takes note of an event.
func (g *guard) hears(a *attempt, began bool) {
	now := time.Now()
	if began && !g.begun {
		g.begun = true
		a.e.hasInit(a.id, now.Sub(g.heard))
	}
	g.heard, g.told = now, false
}
