// Package servicetest is the one suite of tests for engine.Service. It runs on
// the engine itself and on the client of an owner's socket: what holds for one
// holds for the other. It may import engine, engine/task and internal/testkit/fakeclaude,
// and must never know which implementation it tests. It is never part of the
// cctask binary.
package servicetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// Open gives a fresh service with that many jobs; it ends with the test.
type Open func(t *testing.T, jobs int) engine.Service

// patience bounds what takes long only if it hangs, however busy the machine is.
const patience = 5 * time.Minute

// suite is one test's service with a project and a fake claude.
type suite struct {
	*testing.T
	engine.Service
	ctx    context.Context
	work   string
	claude string
	home   string
}

// Run runs the suite. The test binary must play fakeclaude.
func Run(t *testing.T, open Open) {
	cases := []struct {
		name string
		jobs int
		run  func(*suite)
	}{
		{"Completes", 2, (*suite).completes},
		{"RefusesBadInput", 1, (*suite).refusesBadInput},
		{"UnknownTask", 1, (*suite).unknownTask},
		{"QueueIsBoundedAndInOrder", 2, (*suite).queueIsBoundedAndInOrder},
		{"SameKeyStartsNothing", 1, (*suite).sameKeyStartsNothing},
		{"SameKeyAtOnce", 4, (*suite).sameKeyAtOnce},
		{"BatchNamesItsOwn", 2, (*suite).batchNamesItsOwn},
		{"BatchAllOrNone", 1, (*suite).batchAllOrNone},
		{"BatchHasOneKey", 2, (*suite).batchHasOneKey},
		{"BatchGoesOn", 2, (*suite).batchGoesOn},
		{"WaitSeesChanges", 1, (*suite).waitSeesChanges},
		{"WaitEndsWithItsContext", 1, (*suite).waitEndsWithItsContext},
		{"WaitForSeveral", 3, (*suite).waitForSeveral},
		{"WatchTellsOfChanges", 1, (*suite).watchTellsOfChanges},
		{"OutputWhileRunning", 1, (*suite).outputWhileRunning},
		{"ShowsAllAtOnce", 1, (*suite).showsAllAtOnce},
		{"OutputToTheByte", 1, (*suite).outputToTheByte},
		{"CancelQueued", 1, (*suite).cancelQueued},
		{"CancelRunning", 1, (*suite).cancelRunning},
		{"CancelKillsTheTree", 1, (*suite).cancelKillsTheTree},
		{"Deadline", 1, (*suite).deadline},
		{"Fails", 1, (*suite).fails},
		{"UsageLimit", 1, (*suite).usageLimit},
		{"KilledClaude", 1, (*suite).killedClaude},
		{"ResumeAndRetry", 1, (*suite).resumeAndRetry},
		{"LostSessionRunsNothing", 1, (*suite).lostSessionRunsNothing},
		{"SessionThatNeverBegan", 1, (*suite).sessionThatNeverBegan},
		{"GoesOnWithASession", 1, (*suite).goesOnWithASession},
		{"ForksASession", 1, (*suite).forksASession},
		{"SessionIsHeld", 1, (*suite).sessionIsHeld},
		{"NoSessionToGoOnWith", 1, (*suite).noSessionToGoOnWith},
		{"ResumesItself", 1, (*suite).resumesItself},
		{"ResumesItselfNoMoreThanAllowed", 1, (*suite).resumesItselfNoMoreThanAllowed},
		{"BoundsAreTheTasks", 1, (*suite).boundsAreTheTasks},
		{"AgainIsIdempotent", 1, (*suite).againIsIdempotent},
		{"CompletedIsFinal", 1, (*suite).completedIsFinal},
		{"Remove", 1, (*suite).remove},
		{"List", 1, (*suite).list},
		{"NamesAndPrefixes", 1, (*suite).namesAndPrefixes},
		{"PolicyOfTheFront", 1, (*suite).policyOfTheFront},
		{"NameOfSeveral", 2, (*suite).nameOfSeveral},
		{"SeveralResults", 1, (*suite).severalResults},
		{"OutputLimit", 1, (*suite).outputLimit},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := &suite{T: t, Service: open(t, c.jobs), ctx: ctx, home: t.TempDir(), work: t.TempDir(), claude: fakeclaude.Binary(t)}
			c.run(s)
		})
	}
}

func (s *suite) env() []string {
	return []string{
		"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), fakeclaude.LogEnv + "=" + s.logFile(), "SECRET_TOKEN=hunter2",
	}
}

func (s *suite) logFile() string { return filepath.Join(s.home, "fake.log") }

func (s *suite) submission(prompt string) engine.Submission {
	return engine.Submission{Spec: task.Spec{WorkingDir: s.work, Claude: s.claude}, Prompt: prompt, Env: s.env()}
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) submit(prompt string) task.ID {
	s.Helper()
	t, err := s.Submit(s.ctx, s.submission(prompt))
	s.must(err)
	return t.ID
}

func (s *suite) end(id task.ID) task.Task {
	s.Helper()
	t, err := engine.WaitFor(s.ctx, s, string(id), engine.UntilEnd)
	s.must(err)
	return t
}

func (s *suite) wants(t task.Task, status task.Status, reason task.FailureReason) {
	s.Helper()
	if t.Status != status || t.Reason != reason {
		s.Errorf("%s is %s, %q (%s); want %s, %q", t.ID, t.Status, t.Reason, t.Message, status, reason)
	}
}

func (s *suite) starts() int {
	s.Helper()
	list, err := fakeclaude.ReadLog(s.logFile(), "start")
	s.must(err)
	return len(list)
}

func (s *suite) read(q engine.OutputQuery) task.Output {
	s.Helper()
	out, err := s.Output(s.ctx, q)
	s.must(err)
	return out
}

func (s *suite) completes() {
	id := s.submit("[[text hello]][[tool Bash]][[cost 0.25]][[turns 3]][[text done]]")
	t := s.end(id)
	s.wants(t, task.Completed, "")
	if t.Result == nil || *t.Result != "done" || t.ExitCode == nil || *t.ExitCode != 0 || t.SessionID != id.UUID() {
		s.Errorf("result %v, exit %v, session %s", t.Result, t.ExitCode, t.SessionID)
	}
	if t.CostUSD != 0.25 || t.NumTurns != 3 || t.CostUncertain || len(t.Attempts) != 1 || t.StartedAt.IsZero() || t.FinishedAt.IsZero() {
		s.Errorf("cost %v (uncertain %v), turns %d, %d attempts, %v to %v", t.CostUSD, t.CostUncertain, t.NumTurns, len(t.Attempts), t.StartedAt, t.FinishedAt)
	}
	log, err := fakeclaude.ReadLog(s.logFile(), "start")
	s.must(err)
	args := strings.Join(log[0].Args, " ")
	if !strings.Contains(args, "--session-id="+id.UUID()) || strings.Contains(args, "hello") || log[0].Cwd != s.work {
		s.Errorf("claude was started with %s in %s", args, log[0].Cwd)
	}
}

func (s *suite) refusesBadInput() {
	for name, spoil := range map[string]func(*engine.Submission){
		"blank prompt":      func(b *engine.Submission) { b.Prompt = " \n" },
		"large prompt":      func(b *engine.Submission) { b.Prompt = strings.Repeat("x", task.MaxPrompt+1) },
		"missing directory": func(b *engine.Submission) { b.Spec.WorkingDir = "/nowhere" },
		"missing binary":    func(b *engine.Submission) { b.Spec.Claude = "/nowhere/claude" },
		"bad model":         func(b *engine.Submission) { b.Spec.Model = "a b" },
	} {
		b := s.submission("x")
		spoil(&b)
		_, err := s.Submit(s.ctx, b)
		if !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			s.Errorf("%s: %v, hint %q", name, err, task.HintOf(err))
		}
	}
	p, err := s.List(s.ctx, task.Filter{})
	if s.must(err); len(p.Tasks) != 0 {
		s.Errorf("%d tasks were recorded", len(p.Tasks))
	}
}

func (s *suite) unknownTask() {
	id := string(task.NewID(time.Now()))
	_, get := s.Get(s.ctx, id)
	_, show := s.Show(s.ctx, task.Look{Ref: id})
	_, wait := engine.WaitFor(s.ctx, s, id, 0)
	_, out := s.Output(s.ctx, engine.OutputQuery{Ref: id, Stream: task.Stdout})
	_, cancel := s.Cancel(s.ctx, id)
	_, resume := s.Resume(s.ctx, engine.Again{Ref: id})
	_, retry := s.Retry(s.ctx, engine.Again{Ref: id})
	for i, err := range []error{get, show, wait, out, cancel, resume, retry, s.Remove(s.ctx, id, false)} {
		if !errors.Is(err, task.ErrNotFound) || task.HintOf(err) == "" {
			s.Errorf("call %d: %v, hint %q", i, err, task.HintOf(err))
		}
	}
}

func (s *suite) queueIsBoundedAndInOrder() {
	gate := fakeclaude.NewGate(s)
	ids := []task.ID{s.submit(gate.Directive()), s.submit("[[text b]]"), s.submit("[[text c]]"), s.submit("[[text d]]")}
	open, err := gate.Reached(s.ctx)
	s.must(err)
	var last time.Time
	for _, id := range ids[1:] { // the second slot takes them one after the other
		t := s.end(id)
		s.wants(t, task.Completed, "")
		if t.StartedAt.Before(last) {
			s.Errorf("%s started at %v, the one before at %v", id, t.StartedAt, last)
		}
		last = t.StartedAt
	}
	t, err := s.Get(s.ctx, string(ids[0]))
	if s.must(err); !t.Status.Live() {
		s.Errorf("the first is %s", t.Status)
	}
	open()
	s.wants(s.end(ids[0]), task.Completed, "")
}

func (s *suite) sameKeyStartsNothing() {
	b := s.submission("[[text once]]")
	b.Key = "k1"
	first, err := s.Submit(s.ctx, b)
	s.must(err)
	s.end(first.ID)
	again, err := s.Submit(s.ctx, b)
	if s.must(err); again.ID != first.ID {
		s.Errorf("the same key gave %s and %s", first.ID, again.ID)
	}
	b.Prompt = "another"
	if _, err := s.Submit(s.ctx, b); !errors.Is(err, task.ErrIdempotencyConflict) {
		s.Errorf("the same key with another prompt: %v", err)
	}
	if n := s.starts(); n != 1 {
		s.Errorf("claude was started %d times", n)
	}
}

func (s *suite) sameKeyAtOnce() {
	b := s.submission("[[text once]]")
	b.Key = "k2"
	ids := make([]task.ID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			t, err := s.Submit(s.ctx, b)
			if err != nil {
				s.Error(err)
			}
			ids[i] = t.ID
		})
	}
	wg.Wait()
	s.end(ids[0])
	for _, id := range ids {
		if id != ids[0] {
			s.Fatalf("one key, tasks %v", ids)
		}
	}
	if n := s.starts(); n != 1 {
		s.Errorf("claude was started %d times", n)
	}
}

func (s *suite) waitSeesChanges() {
	gate := fakeclaude.NewGate(s)
	id := s.submit("[[text first words]]" + gate.Directive() + "[[text end]]")
	var seen uint64
	var t task.Task
	var err error
	for t.Progress == nil || t.Progress.LastText != "first words" {
		t, err = engine.WaitFor(s.ctx, s, string(id), seen)
		s.must(err)
		if t.Version <= seen {
			s.Fatalf("version %d after %d", t.Version, seen)
		}
		seen = t.Version
	}
	open, err := gate.Reached(s.ctx)
	s.must(err)
	open()
	s.wants(s.end(id), task.Completed, "")
}

func (s *suite) waitEndsWithItsContext() {
	gate := fakeclaude.NewGate(s)
	id := s.submit(gate.Directive())
	open, err := gate.Reached(s.ctx)
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	result := make(chan error, 1)
	go func() {
		_, err := engine.WaitFor(ctx, s, string(id), engine.UntilEnd)
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		s.Errorf("Wait = %v", err)
	}
	open()
	s.wants(s.end(id), task.Completed, "") // a waiting that ended did not hurt it
}

func (s *suite) outputWhileRunning() {
	gate := fakeclaude.NewGate(s)
	const n = 700_000 // two sealed chunks and a tail
	id := s.submit(fmt.Sprintf("[[flood %d]]%s", n, gate.Directive()))
	open, err := gate.Reached(s.ctx)
	s.must(err)
	out := s.read(engine.OutputQuery{Ref: string(id), Stream: task.Stdout, Tail: 1000})
	if len(out.Data) != 1000 || out.Size < n || out.Done {
		s.Errorf("tail has %d bytes at %d of %d, done %v", len(out.Data), out.Offset, out.Size, out.Done)
	}
	whole := s.all(id, task.Stdout)
	open()
	s.end(id)
	after := s.all(id, task.Stdout)
	if !bytes.HasPrefix(after, whole) || !bytes.Contains(whole, fakeclaude.Flood(n)) {
		s.Errorf("%d bytes while running, %d after", len(whole), len(after))
	}
}

// all reads a stream from its beginning, piece by piece.
func (s *suite) all(id task.ID, st task.Stream) []byte {
	s.Helper()
	var all []byte
	for {
		out := s.read(engine.OutputQuery{Ref: string(id), Stream: st, Offset: int64(len(all)), Limit: 100_000})
		if out.Offset != int64(len(all)) {
			s.Fatalf("asked for offset %d, got %d", len(all), out.Offset)
		}
		all = append(all, out.Data...)
		if int64(len(all)) >= out.Size {
			return all
		}
	}
}

func (s *suite) outputToTheByte() {
	want := []byte("a\x00b\xff\xfe\r\n" + strings.Repeat("binary \x1b[31m", 30_000))
	file := filepath.Join(s.home, "stream")
	s.must(os.WriteFile(file, want, 0o600))
	id := s.submit("[[replay " + file + "]][[flood-stderr 300000]]")
	t := s.end(id)
	if got := s.all(id, task.Stdout); !bytes.Equal(got, want) {
		s.Errorf("stdout has %d bytes, want %d", len(got), len(want))
	}
	if got := s.all(id, task.Stderr); !bytes.Equal(got, fakeclaude.Flood(300000)) {
		s.Errorf("stderr has %d bytes", len(got))
	}
	if t.StdoutBytes != int64(len(want)) || t.StderrBytes != 300000 {
		s.Errorf("the record says %d and %d bytes", t.StdoutBytes, t.StderrBytes)
	}
	prompt := s.all(id, task.Prompt)
	if !bytes.HasPrefix(prompt, []byte("[[replay ")) {
		s.Errorf("prompt: %q", prompt)
	}
}
