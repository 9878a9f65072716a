package task

import (
	"errors"
	"testing"
	"time"
)

// Every status has its row in the table of transitions and here.
var wantTransitions = map[Status][]Status{
	Queued:      {Starting, Cancelled, Skipped},
	Starting:    {Running, Queued, Failed, Cancelled, Interrupted},
	Running:     {Completed, Failed, Timeout, Cancelled, Interrupted},
	Completed:   {},
	Failed:      {Queued},
	Timeout:     {Queued},
	Cancelled:   {Queued},
	Interrupted: {Queued},
	Skipped:     {Queued},
}

func TestTransitions(t *testing.T) {
	if len(Statuses) != len(wantTransitions) || len(transitions) != len(wantTransitions)+1 {
		t.Fatalf("%d statuses, %d rows, %d wanted: a new status needs its line here", len(Statuses), len(transitions), len(wantTransitions))
	}
	for _, from := range Statuses {
		for _, to := range Statuses {
			want := false
			for _, s := range wantTransitions[from] {
				want = want || s == to
			}
			tk := Task{ID: "X", Status: from}
			err := tk.Become(to, time.Unix(9, 0), "test")
			if (err == nil) != want {
				t.Errorf("%s -> %s: %v, allowed should be %v", from, to, err, want)
			}
			if err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("%s -> %s: %v is no conflict", from, to, err)
			}
			if err == nil && (len(tk.History) != 1 || tk.History[0] != (Change{time.Unix(9, 0), from, to, "test"})) {
				t.Errorf("%s -> %s: history %v", from, to, tk.History)
			}
			if err != nil && (tk.Status != from || len(tk.History) != 0) {
				t.Errorf("a refused %s -> %s changed the task", from, to)
			}
		}
	}
}

func TestStatusHasItsTimes(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	var tk Task
	steps := []Status{Queued, Starting, Running, Interrupted, Queued, Starting, Running, Completed}
	for i, s := range steps {
		if err := tk.Become(s, at(int64(i+1)), ""); err != nil {
			t.Fatal(err)
		}
		if s.Ended() == tk.FinishedAt.IsZero() {
			t.Errorf("after %s finished_at is %v", s, tk.FinishedAt)
		}
	}
	if tk.QueuedAt != at(5) || tk.StartedAt != at(3) || tk.FinishedAt != at(8) {
		t.Errorf("queued %v, started %v, finished %v", tk.QueuedAt, tk.StartedAt, tk.FinishedAt)
	}
}

func TestEveryReasonHasAHint(t *testing.T) {
	if len(Reasons) != len(hints) {
		t.Errorf("%d reasons, %d hints", len(Reasons), len(hints))
	}
	for _, r := range Reasons {
		if r.Hint() == "" {
			t.Errorf("%s has no hint", r)
		}
	}
}
