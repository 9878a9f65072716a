package servicetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

func (s *suite) cancelQueued() {
	gate := fakeclaude.NewGate(s)
	first, second := s.submit(gate.Directive()), s.submit("[[text never]]")
	open, err := gate.Reached(s.ctx)
	s.must(err)
	t, err := s.Cancel(s.ctx, string(second))
	s.must(err)
	s.wants(t, task.Cancelled, task.ReasonCancelled)
	open()
	s.end(first)
	if n := s.starts(); n != 1 {
		s.Errorf("claude was started %d times", n)
	}
	if t, err = s.Cancel(s.ctx, string(first)); err != nil || t.Status != task.Completed {
		s.Errorf("cancel of an ended task: %s, %v", t.Status, err)
	}
}

func (s *suite) cancelRunning() {
	gate := fakeclaude.NewGate(s)
	id := s.submit("[[text partial]]" + gate.Directive())
	open, err := gate.Reached(s.ctx)
	s.must(err)
	defer open()
	t, err := s.Cancel(s.ctx, string(id))
	s.must(err)
	s.wants(t, task.Cancelled, task.ReasonCancelled)
	if got := string(s.all(id, task.Stdout)); !strings.Contains(got, "partial") {
		s.Errorf("the partial output is lost: %q", got)
	}
}

func (s *suite) cancelKillsTheTree() {
	gate := fakeclaude.NewGate(s)
	id := s.submit("[[ignore-term]][[orphan plain]][[orphan setsid]][[orphan daemon]]" + gate.Directive() + "[[hang]]")
	open, err := gate.Reached(s.ctx)
	s.must(err)
	open()
	_, err = s.Cancel(s.ctx, string(id))
	s.must(err)
	log, err := fakeclaude.ReadLog(s.logFile(), "")
	s.must(err)
	orphans := 0
	for _, e := range log {
		pid := e.Orphan
		if e.Event == "start" {
			pid = e.PID
		}
		if pid == 0 {
			continue
		}
		orphans++
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
			s.Errorf("%s %d lives after the cancel: %v", e.Event, pid, err)
		}
	}
	if orphans != 4 {
		s.Errorf("%d processes in the log, want claude and 3 orphans", orphans)
	}
}

// zombie tells whether a process has ended but was not yet waited for.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "Z")
}

// deadline gives more time until claude has said something within it: how long
// it takes to begin is a matter of the machine.
func (s *suite) deadline() {
	for limit, said := 0.5, false; !said; limit *= 2 {
		gate := fakeclaude.NewGate(s.T)
		b := s.submission("[[text before]]" + gate.Directive())
		b.Spec.TimeoutSeconds = limit
		t, err := s.Submit(s.ctx, b)
		s.must(err)
		ctx, stop := context.WithCancel(s.ctx)
		reached := make(chan func(), 1)
		go func() {
			open, _ := gate.Reached(ctx)
			reached <- open
		}()
		t = s.end(t.ID)
		stop()
		s.wants(t, task.Timeout, task.ReasonDeadline)
		open := <-reached
		if said = open != nil; said {
			open() // not before: claude would go on
		}
		if got := string(s.all(t.ID, task.Stdout)); said && !strings.Contains(got, "before") {
			s.Errorf("the partial output is lost: %q", got)
		}
	}
}

func (s *suite) fails() {
	for prompt, want := range map[string]task.FailureReason{
		"[[stderr boom]][[exit 7]]":           task.ReasonProcessFailed,
		"[[text x]][[no-result]]":             task.ReasonNoResult,
		"[[error error_max_turns]]":           task.ReasonMaxTurns,
		"[[error error_max_budget_usd]]":      task.ReasonMaxBudget,
		"[[text x]][[torn]][[no-result]]":     task.ReasonNoResult,
		"[[is-error Prompt is too long]]":     task.ReasonContextOverflow,
		"[[text x]][[result said]][[exit 3]]": task.ReasonProcessFailed,
	} {
		t := s.end(s.submit(prompt))
		s.wants(t, task.Failed, want)
		if t.Message == "" || want.Hint() == "" {
			s.Errorf("%s: message %q", prompt, t.Message)
		}
	}
}

// usageLimit: when the limit ends is in the record as long as the task has not
// gone on.
func (s *suite) usageLimit() {
	id := s.submit(`[[print {"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795400000}}]]` +
		`[[print {"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"You've hit your limit"}]][[exit 1]]`)
	t, want := s.end(id), time.Unix(1795400000, 0)
	s.wants(t, task.Failed, task.ReasonUsageLimit)
	if v := task.NewView(t, time.Now()); !t.RetryAt.Equal(want) || !t.Attempts[0].RetryAt.Equal(want) || !v.RetryAt.Equal(want) {
		s.Errorf("retry at %v, of the attempt %v, shown %v; want %v", t.RetryAt, t.Attempts[0].RetryAt, v.RetryAt, want)
	}
	t, err := s.Resume(s.ctx, engine.Again{Ref: string(id), Prompt: "[[text x]]", Env: s.env()})
	s.must(err)
	if s.end(id); !t.RetryAt.IsZero() {
		s.Errorf("it goes on, and is to be tried again at %v", t.RetryAt)
	}
}

func (s *suite) killedClaude() {
	t := s.end(s.submit("[[text before]][[kill 9]]"))
	s.wants(t, task.Interrupted, task.ReasonInterrupted)
	if !strings.Contains(t.Message, "signal 9") || !t.CostUncertain {
		s.Errorf("message %q, cost uncertain %v", t.Message, t.CostUncertain)
	}
}

func (s *suite) resumeAndRetry() {
	id := s.submit("[[text one]][[cost 0.5]][[kill 15]]")
	s.wants(s.end(id), task.Interrupted, task.ReasonInterrupted)
	resumed, err := s.Resume(s.ctx, engine.Again{Ref: string(id), Prompt: "[[cost 0.25]][[error error_max_turns]]", Env: s.env(), Key: "r1"})
	s.must(err)
	if resumed.Status.Ended() || resumed.Attempt != 2 {
		s.Errorf("resumed: %s, attempt %d", resumed.Status, resumed.Attempt)
	}
	s.wants(s.end(id), task.Failed, task.ReasonMaxTurns)
	_, err = s.Retry(s.ctx, engine.Again{Ref: string(id), Env: s.env(), Key: "r2"})
	s.must(err)
	t := s.end(id) // the original prompt kills itself again
	s.wants(t, task.Interrupted, task.ReasonInterrupted)
	a := t.Attempts
	if len(a) != 3 || a[1].SessionID != a[0].SessionID || a[2].SessionID == a[0].SessionID || a[2].Kind != task.Retry {
		s.Fatalf("attempts: %+v", a)
	}
	var cost float64
	var duration int64
	for _, x := range a {
		cost, duration = cost+x.CostUSD, duration+x.DurationMS
	}
	if math.Abs(cost-t.CostUSD) > 1e-9 || duration != t.DurationMS || cost == 0 {
		s.Errorf("sums %v and %d, task %v and %d", cost, duration, t.CostUSD, t.DurationMS)
	}
	for n := 1; n <= 3; n++ {
		out := s.read(engine.OutputQuery{Ref: string(id), Attempt: n, Stream: task.Stdout})
		if out.Size == 0 || out.Size != a[n-1].StdoutBytes || !out.Done {
			s.Errorf("attempt %d: %d bytes of %d, done %v", n, out.Size, a[n-1].StdoutBytes, out.Done)
		}
	}
}

func (s *suite) againIsIdempotent() {
	id := s.submit("[[error error_max_turns]]")
	s.end(id)
	gate := fakeclaude.NewGate(s)
	again := engine.Again{Ref: string(id), Prompt: gate.Directive(), Env: s.env(), Key: "same"}
	first, err := s.Resume(s.ctx, again)
	s.must(err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	second, err := s.Resume(s.ctx, again)
	if err != nil || second.Attempt != first.Attempt {
		s.Errorf("repeated resume: attempt %d, %v; first %d", second.Attempt, err, first.Attempt)
	}
	again.Key = "other"
	if _, err := s.Resume(s.ctx, again); !errors.Is(err, task.ErrConflict) {
		s.Errorf("resume of a running task: %v", err)
	}
	open()
	s.end(id)
}

func (s *suite) completedIsFinal() {
	id := s.submit("[[text x]]")
	s.end(id)
	_, resume := s.Resume(s.ctx, engine.Again{Ref: string(id), Prompt: "more"})
	_, retry := s.Retry(s.ctx, engine.Again{Ref: string(id)})
	for _, err := range []error{resume, retry} {
		if !errors.Is(err, task.ErrConflict) || task.HintOf(err) == "" {
			s.Errorf("again after completed: %v, hint %q", err, task.HintOf(err))
		}
	}
}

func (s *suite) remove() {
	gate := fakeclaude.NewGate(s)
	id := s.submit(gate.Directive())
	open, err := gate.Reached(s.ctx)
	s.must(err)
	defer open()
	if err := s.Remove(s.ctx, string(id), false); !errors.Is(err, task.ErrConflict) || task.HintOf(err) == "" {
		s.Errorf("remove of a live task: %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		for { // the cancelled end may come first, then the removal
			t, err := engine.WaitFor(s.ctx, s, string(id), engine.UntilEnd)
			if err != nil || t.Status.Ended() {
				waited <- err
				return
			}
		}
	}()
	s.must(s.Remove(s.ctx, string(id), true))
	if _, err := s.Get(s.ctx, string(id)); !errors.Is(err, task.ErrNotFound) {
		s.Errorf("a removed task: %v", err)
	}
	if err := <-waited; err != nil && !errors.Is(err, task.ErrNotFound) {
		s.Errorf("who waited for it: %v", err)
	}
}

func (s *suite) list() {
	var ids []task.ID
	for i := range 5 {
		b := s.submission(fmt.Sprintf("[[text %d]]", i))
		b.Spec.Labels = []string{fmt.Sprint("parity-", i%2)}
		t, err := s.Submit(s.ctx, b)
		s.must(err)
		ids = append(ids, t.ID)
	}
	for _, id := range ids {
		s.end(id)
	}
	p, err := s.List(s.ctx, task.Filter{Statuses: []task.Status{task.Completed}, Limit: 2})
	s.must(err)
	if len(p.Tasks) != 2 || p.Tasks[0].ID != ids[4] || p.NextCursor == "" {
		s.Fatalf("first page: %d tasks, cursor %q", len(p.Tasks), p.NextCursor)
	}
	p, err = s.List(s.ctx, task.Filter{Limit: 10, Cursor: p.NextCursor})
	s.must(err)
	if len(p.Tasks) != 3 || p.Tasks[2].ID != ids[0] || p.NextCursor != "" {
		s.Errorf("second page: %d tasks, cursor %q", len(p.Tasks), p.NextCursor)
	}
	p, err = s.List(s.ctx, task.Filter{Labels: []string{"parity-1"}})
	if s.must(err); len(p.Tasks) != 2 {
		s.Errorf("by label: %d tasks", len(p.Tasks))
	}
}

func (s *suite) namesAndPrefixes() {
	b := s.submission("[[text x]]")
	b.Spec.Name = "nightly build"
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	id := string(t.ID)
	for _, ref := range []string{id, strings.ToLower(id), id[:12], id[20:], "nightly build", "last"} {
		if got, err := s.Get(s.ctx, ref); err != nil || got.ID != t.ID {
			s.Errorf("%q: %s, %v", ref, got.ID, err)
		}
	}
	s.submit("[[text y]]")
	if _, err := s.Get(s.ctx, id[:4]); !errors.Is(err, task.ErrAmbiguous) || !strings.Contains(err.Error(), id+" (nightly build, ") {
		s.Errorf("a prefix of two: %v", err)
	}
	_, err = s.Get(s.ctx, "nihgtly build")
	if !errors.Is(err, task.ErrNotFound) || !strings.Contains(err.Error(), "nearest: nightly build") || task.HintOf(err) == "" {
		s.Errorf("a mistyped name: %v, hint %q", err, task.HintOf(err))
	}
	s.end(t.ID)
}

// The front's own policy bounds the task that it submits, and every attempt of
// it, whoever asks for that one.
func (s *suite) policyOfTheFront() {
	b := s.submission("[[error error_max_turns]]")
	b.Policy = task.Policy{AllowedModels: []string{"haiku"}, MaxTimeoutSeconds: 60, ExtraArgs: []string{"--disallowedTools=WebFetch"}}
	bad := b
	bad.Spec.Model = "opus"
	if _, err := s.Submit(s.ctx, bad); !errors.Is(err, task.ErrPolicy) {
		s.Errorf("beyond the front's policy: %v", err)
	}
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	s.end(t.ID)
	_, err = s.Retry(s.ctx, engine.Again{Ref: string(t.ID), Env: s.env(), Policy: task.Policy{MaxTimeoutSeconds: 30}})
	if !errors.Is(err, task.ErrPolicy) {
		s.Errorf("a retry beyond the policy of the front that asks: %v", err)
	}
	_, err = s.Retry(s.ctx, engine.Again{Ref: string(t.ID), Env: s.env()})
	s.must(err)
	s.end(t.ID)
	log, err := fakeclaude.ReadLog(s.logFile(), "start")
	s.must(err)
	if len(log) != 2 {
		s.Fatalf("%d starts", len(log))
	}
	for i, l := range log {
		if args := strings.Join(l.Args, " "); !strings.Contains(args, "--model=haiku") || !strings.HasSuffix(args, "--disallowedTools=WebFetch") {
			s.Errorf("start %d: %s", i, args)
		}
	}
}

// A name that several bear changes nothing, but for a cancel that can mean one
// task alone.
func (s *suite) nameOfSeveral() {
	gate := fakeclaude.NewGate(s)
	named := func(prompt string) task.ID {
		b := s.submission(prompt)
		b.Spec.Name = "build"
		t, err := s.Submit(s.ctx, b)
		s.must(err)
		return t.ID
	}
	live, ended := named(gate.Directive()), named("[[error error_max_turns]]")
	s.wants(s.end(ended), task.Failed, task.ReasonMaxTurns)
	if t, err := s.Get(s.ctx, "build"); err != nil || t.ID != ended || t.Fits().Count != 2 || t.Fits().Live != 1 {
		s.Errorf("Get: %s, %v, %+v", t.ID, err, t.Match)
	}
	on := s.submission("x")
	on.Spec.ResumeTaskID = "build"
	_, resume := s.Resume(s.ctx, engine.Again{Ref: "build", Env: s.env()})
	_, retry := s.Retry(s.ctx, engine.Again{Ref: "build", Env: s.env()})
	_, submit := s.Submit(s.ctx, on)
	for i, err := range []error{resume, retry, submit, s.Remove(s.ctx, "build", true)} {
		if !errors.Is(err, task.ErrAmbiguous) || !strings.Contains(err.Error(), string(live)) || !strings.Contains(err.Error(), string(ended)) {
			s.Errorf("call %d: %v", i, err)
		}
	}
	open, err := gate.Reached(s.ctx) // nobody has stopped it
	s.must(err)
	defer open()
	if t, err := s.Cancel(s.ctx, "build"); err != nil || t.ID != live || t.Status != task.Cancelled {
		s.Errorf("Cancel: %s is %s, %v; want %s", t.ID, t.Status, err, live)
	}
	if t, err := s.Cancel(s.ctx, "build"); !errors.Is(err, task.ErrAmbiguous) {
		s.Errorf("Cancel where all have ended: %s, %v", t.ID, err)
	}
}

func (s *suite) severalResults() {
	t := s.end(s.submit("[[result first]][[result last]]"))
	s.wants(t, task.Completed, "")
	if t.Result == nil || *t.Result != "last" {
		s.Errorf("result %v", t.Result)
	}
}

func (s *suite) outputLimit() {
	b := s.submission("[[flood 3000000]][[hang]]")
	b.Spec.MaxOutput = 1 << 20
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	s.wants(s.end(t.ID), task.Failed, task.ReasonOutputLimit)
}
