package servicetest

import (
	"os"
	"path/filepath"
	"strings"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// losing submits a task that is killed after its first words, if there are any,
// and whose session is gone by then.
func (s *suite) losing(onInterrupt, words string) task.ID {
	s.Helper()
	gate := fakeclaude.NewGate(s)
	b := s.submission("original")
	b.Spec.OnInterrupt = onInterrupt
	b.Env = append(b.Env, fakeclaude.ScriptEnv+"="+words+gate.Directive()+"[[kill 9]]")
	t, err := s.Submit(s.ctx, b)
	s.must(err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	s.must(os.RemoveAll(filepath.Join(s.home, ".fakeclaude")))
	open()
	return t.ID
}

// attempt waits for a task's attempt n: the end of one that is followed by
// another is no end of the task.
func (s *suite) attempt(id task.ID, n int) {
	s.Helper()
	for t := (task.Task{}); t.Attempt < n; {
		var err error
		t, err = engine.WaitFor(s.ctx, s, string(id), t.Version)
		s.must(err)
	}
}

// lostSessionRunsNothing: what was done once must not be done again because
// claude forgot it, and the words of whoever resumes must not be dropped.
func (s *suite) lostSessionRunsNothing() {
	lost := func(t task.Task, starts int) {
		s.Helper()
		s.wants(t, task.Failed, task.ReasonSessionLost)
		if len(t.Attempts) != 2 || !strings.Contains(t.Message, "nothing was done") || !strings.Contains(t.Reason.Hint(), "retry") || s.starts() != starts {
			s.Errorf("%d attempts, %d starts: %q, hint %q", len(t.Attempts), s.starts(), t.Message, t.Reason.Hint())
		}
	}
	for i, prompt := range []string{"Only tell me what you did. Change nothing.", ""} {
		id := s.losing("", "[[text begun]]")
		s.wants(s.end(id), task.Interrupted, task.ReasonInterrupted)
		_, err := s.Resume(s.ctx, engine.Again{Ref: string(id), Prompt: prompt, Env: s.env()})
		s.must(err)
		lost(s.end(id), 2*i+2)
	}
	id := s.losing(task.OnInterruptResume, "[[text begun]]")
	lost(s.end(id), 6)
	_, err := s.Retry(s.ctx, engine.Again{Ref: string(id), Env: s.env()})
	s.must(err)
	s.wants(s.end(id), task.Completed, "")
}

// sessionThatNeverBegan: claude was killed before it did anything, so the
// attempt that finds no session begins one, with its own prompt.
func (s *suite) sessionThatNeverBegan() {
	fresh := func(id task.ID, env []string, prompt, want string) {
		s.Helper()
		if prompt != "by itself" {
			s.wants(s.end(id), task.Interrupted, task.ReasonInterrupted)
			_, err := s.Resume(s.ctx, engine.Again{Ref: string(id), Prompt: prompt, Env: env})
			s.must(err)
		}
		s.attempt(id, 3)
		t, err := s.Get(s.ctx, string(id))
		s.must(err)
		if a := t.Attempts; len(a) < 3 || a[1].Reason != task.ReasonSessionLost || a[2].Kind != task.Fresh || a[2].SessionID == a[0].SessionID {
			s.Fatalf("attempts %+v", a)
		}
		if got := string(s.read(engine.OutputQuery{Ref: string(id), Attempt: 3, Stream: task.Prompt}).Data); got != want {
			s.Errorf("the fresh attempt's prompt is %q, want %q", got, want)
		}
	}
	for _, words := range []string{"", "Only tell me."} {
		id := s.losing("", "")
		want := words
		if words == "" {
			want = "original" // nobody said otherwise
		}
		fresh(id, s.env(), words, want)
	}
	id := s.losing(task.OnInterruptResume, "")
	fresh(id, nil, "by itself", "original")
	_, err := s.Cancel(s.ctx, string(id)) // it blocks at its gate again
	s.must(err)
}
