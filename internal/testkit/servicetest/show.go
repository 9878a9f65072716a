package servicetest

import (
	"bytes"
	"strings"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/testkit/fakeclaude"
)

// showsAllAtOnce looks at a task that runs, at its end, and at one that ended badly.
func (s *suite) showsAllAtOnce() {
	look := func(l task.Look) (task.Shown, task.Task) {
		s.Helper()
		found, err := s.Show(s.ctx, l)
		s.must(err)
		t, err := found.Task()
		s.must(err)
		return found, t
	}
	gate := fakeclaude.NewGate(s)
	b := s.submission("[[text first words]][[stderr x<&>]]" + gate.Directive() + "[[text done]]")
	b.Spec.Name = "shown"
	sent, err := s.Submit(s.ctx, b)
	s.must(err)
	open, err := gate.Reached(s.ctx)
	s.must(err)
	for seen, t := uint64(0), sent; t.Progress == nil || t.Progress.LastText != "first words"; seen = t.Version {
		t, err = engine.WaitFor(s.ctx, s, string(sent.ID), seen)
		s.must(err)
	}
	all := task.Look{Ref: "shown", Attempts: true, Stdout: 1 << 20, Stderr: 4}
	found, t := look(all)
	if t.Status != task.Running || found.Status != task.Running || t.Progress == nil || t.Version == 0 || len(t.Attempts) != 1 || t.Result != nil {
		s.Errorf("a running task is shown as %+v", t)
	}
	if found.Stdout.Done || !strings.Contains(string(found.Stdout.Data), "first words") || int64(len(found.Stdout.Data)) != found.Stdout.Size || string(found.Stderr.Data) != "<&>\n" {
		s.Errorf("its output is shown as %+v, %+v", found.Stdout, found.Stderr)
	}
	open()
	s.end(sent.ID)
	found, t = look(all)
	out := s.read(engine.OutputQuery{Ref: string(sent.ID), Stream: task.Stdout})
	if t.Status != task.Completed || t.Result == nil || *t.Result != "done" || len(t.Attempts) != 1 || !found.Stdout.Done || !bytes.Equal(found.Stdout.Data, out.Data) || found.Stderr.Size != 5 || found.Stderr.Offset != 1 {
		s.Errorf("an ended task is shown as %+v with %+v and %+v", t, found.Stdout, found.Stderr)
	}
	if found, t = look(task.Look{Ref: string(sent.ID), Stdout: 10, Stderr: 10, BadOnly: true}); found.Stdout != nil || found.Stderr != nil || t.Attempts != nil {
		s.Errorf("of a completed task come %+v, %+v, %v, which nobody wants", found.Stdout, found.Stderr, t.Attempts)
	}
	bad := s.submit("[[stderr it broke]][[exit 3]]")
	s.end(bad)
	if found, t = look(task.Look{Ref: string(bad), Stdout: 10, Stderr: 100, BadOnly: true}); t.Status != task.Failed || found.Stdout == nil || string(found.Stderr.Data) != "it broke\n" {
		s.Errorf("a failed task is shown as %+v with %+v", t, found.Stderr)
	}
}
