package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

// How an account comes back: the pauses of a gate whose end nobody told, and how many
// tasks go one by one once its probe has passed.
const (
	gateMost     = time.Hour
	gatePace     = 2 * time.Second
	gateOneByOne = 10
)

// accountOf names that of a task too which an older version has recorded, without one.
func accountOf(account string) string { return cmp.Or(account, "unknown") }

func gateOf(account string) obstacle { return obstacle{task.WaitUsageLimit, account} }

// Gates returns the accounts that are closed, after it has opened the one that is
// named; "": none is to be opened.
func (e *Engine) Gates(_ context.Context, open string) ([]task.Gate, error) {
	if open != "" {
		if err := e.MayChange(); err != nil {
			return nil, err
		}
		e.mu.Lock()
		_, closed := e.gates[open]
		known := slices.Sorted(maps.Keys(e.gates))
		e.mu.Unlock()
		if !closed {
			hint := "`cctask limits` shows those that are closed."
			return nil, task.Errorf(task.CodeNotFound, hint, "account %q is not closed; closed are %v", open, known)
		}
		if err := e.openGate(open); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	queued := map[string]int{}
	for _, w := range e.sched.waiters {
		queued[w.class.account]++
	}
	list := []task.Gate{}
	for _, account := range slices.Sorted(maps.Keys(e.gates)) {
		g := e.gates[account]
		g.Queued = queued[account]
		list = append(list, g)
	}
	return list, nil
}

// loadGates gives the scheduler of a new owner the gates that are closed. A probe that
// still lives is the probe.
func (e *Engine) loadGates() error {
	stored, err := e.store.Gates()
	if err != nil {
		return fmt.Errorf("load the gates: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range stored {
		if e.sched.live[g.Probe] == nil {
			g.Probe = ""
		}
		e.setGate(g)
	}
	return nil
}

// setGate lets a closed gate count. Guarded by Engine.mu.
func (e *Engine) setGate(g task.Gate) {
	e.gates[g.Account] = g
	e.sched.close(gateOf(g.Account), closure{until: g.Until, probe: true, probing: g.Probe})
}

// meetsGate closes the account's gate if the attempt has ended at a limit of it, or opens
// it if this was the probe and claude was answered. It comes before the slot is free:
// else the next task of the account would start in between.
func (a *attempt) meetsGate(f *follower, rec runner.Record, end claude.End) {
	a.passes(f.parser)
	if rec.Exited && rec.ExitCode == 0 {
		return // most do
	}
	out := judge(f.parser, &task.Task{}, rec, end)
	if !out.Reason.ClosesGate() {
		return
	}
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	account, known := a.account()
	if !known {
		return
	}
	was := a.e.gates[account]
	was.Account = account
	a.probed = a.probed || was.Probe == a.id // it may be taken in twice
	g := was.Closed(task.GateEnd{Task: a.id, Reason: out.Reason, Message: out.Message, ResetAt: out.RetryAt}, time.Now(), a.e.gatePause(out.Reason), gateMost)
	a.e.setGate(g)
	a.e.log.Warn().Str("task", string(a.id)).Str("account", account).Str("why", string(g.Reason)).Time("until", g.Until).Msg("account closed")
}

// gatePause is the first pause of a gate whose end nobody told. Who mends a login or a
// key does not wait for long.
func (e *Engine) gatePause(r task.FailureReason) time.Duration {
	if r == task.ReasonUsageLimit {
		return e.cfg.GatePause
	}
	return e.cfg.GatePause / 5
}

// account is that of a live attempt. Guarded by Engine.mu.
func (a *attempt) account() (string, bool) {
	l := a.e.sched.live[a.id]
	if l == nil {
		return "", false
	}
	return l.waiter.class.account, true
}

// gateNow is the gate as the commit of the attempt's end records it; nil: it is open.
func (a *attempt) gateNow() *task.Gate {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	account, _ := a.account()
	if g, closed := a.e.gates[account]; closed {
		return &g
	}
	return nil
}

// atGate tells whether the task must stay in the queue: its account was closed after
// it was chosen. Else it gives the gate that its claim records, if it is the probe.
func (e *Engine) atGate(t *task.Task) (probes *task.Gate, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	account := accountOf(t.Account)
	g, is := e.gates[account]
	if !is {
		return nil, false
	}
	if e.sched.closed[gateOf(account)].probing != t.ID {
		return nil, true
	}
	g.Probe = t.ID
	e.gates[account] = g
	return &g, false
}

// passes opens the gate as soon as the model has answered the probe.
func (a *attempt) passes(p *claude.Parser) {
	if !p.Asked() {
		return
	}
	a.e.mu.Lock()
	account, _ := a.account()
	passed := a.e.gates[account].Probe == a.id
	a.e.mu.Unlock()
	if !passed {
		return
	}
	if err := a.e.openGate(account); err != nil {
		a.e.log.Error().Err(err).Str("account", account).Msg("record an open gate")
	}
}

// openGate lets the tasks of an account start again, one by one at first. What could not
// be recorded the next owner finds closed, and probes.
func (e *Engine) openGate(account string) error {
	e.mu.Lock()
	delete(e.gates, account)
	e.sched.close(gateOf(account), closure{until: time.Now(), pace: gatePace, left: gateOneByOne})
	e.mu.Unlock()
	e.poke()
	e.log.Info().Str("account", account).Msg("account open")
	open := task.Gate{Account: account}
	if err := e.store.SetGate(open); err != nil {
		return err
	}
	return e.gateRecorded(open)
}

// gateRecorded records a gate again that has changed while its record was made: of two
// commits that are made at once the later may have the older one.
func (e *Engine) gateRecorded(g task.Gate) error {
	for {
		e.mu.Lock()
		now := e.gates[g.Account]
		e.mu.Unlock()
		if now.Account = g.Account; now == g {
			return nil
		}
		if err := e.store.SetGate(now); err != nil {
			return err
		}
		g = now
	}
}

// knock lets a probe go now where a person asks again and nobody told until when the
// account stays closed: a login may be mended.
func (e *Engine) knock(account string) {
	e.mu.Lock()
	g, closed := e.gates[account]
	if closed && g.Fails > 0 && g.Probe == "" {
		g.Until = time.Now().Round(0)
		e.setGate(g)
	}
	e.mu.Unlock()
	e.poke()
}
