package engine

import (
	"testing"
	"time"

	"cctask/engine/task"
)

// nextTable is in the order of its rows: the first that fits an ending holds. A nil field is any.
var nextTable = []struct {
	cancelled, lost, resumes, foreign, touched, begun *bool
	how                                               []task.RetryHow
	used                                              *bool // as often as may be
	want                                              follow
}{
	{cancelled: yes, want: over},
	{lost: yes, foreign: yes, want: failForeign},
	{lost: yes, foreign: no, touched: yes, want: failTouched},
	{lost: yes, foreign: no, touched: no, resumes: yes, want: afresh},
	{lost: yes, foreign: no, touched: no, resumes: no, want: over},
	{how: []task.RetryHow{""}, want: over},
	{how: []task.RetryHow{task.RetryFresh}, foreign: yes, want: over},
	{how: []task.RetryHow{task.RetryGate}, begun: no, resumes: no, want: anotherTry},
	{how: []task.RetryHow{task.RetryGate}, want: again},
	{used: yes, want: spent},
	{how: []task.RetryHow{task.RetryFresh}, foreign: no, want: startOver},
	{how: []task.RetryHow{task.RetrySame}, begun: no, resumes: no, want: anotherTry},
	{how: []task.RetryHow{task.RetrySame}, begun: yes, want: again},
	{how: []task.RetryHow{task.RetrySame}, resumes: yes, want: again},
}

func TestNextIsTheTable(t *testing.T) {
	used := map[int]bool{}
	for bits := range 1 << 6 {
		for _, how := range []task.RetryHow{"", task.RetrySame, task.RetryFresh, task.RetryGate} {
			for _, n := range []tried{{}, {1, 2}, {2, 2}, {0, 3}} {
				bit := func(n int) bool { return bits&(1<<n) != 0 }
				e := ending{
					cancelled: bit(0), lost: bit(1), resumes: bit(2), foreign: bit(3), touched: bit(4), begun: bit(5),
					rule: task.RetryRule{How: how, Attempts: 2, Total: 3}, tried: n,
				}
				i := rowOfNext(e)
				if i < 0 {
					t.Fatalf("no row is about %+v", e)
				}
				used[i] = true
				if got := next(e); got != nextTable[i].want {
					t.Errorf("row %d: %+v: next = %q, the table says %q", i, e, got, nextTable[i].want)
				}
			}
		}
	}
	if len(used) != len(nextTable) {
		t.Errorf("only %d of %d rows can happen", len(used), len(nextTable))
	}
}

func rowOfNext(e ending) int {
	for i, r := range nextTable {
		fits := len(r.how) == 0 || r.how[0] == e.rule.How
		for want, got := range map[**bool]bool{
			&r.cancelled: e.cancelled, &r.lost: e.lost, &r.resumes: e.resumes, &r.foreign: e.foreign, &r.touched: e.touched, &r.begun: e.begun,
			&r.used: e.ofReason == 2 || e.inAll == 3,
		} {
			fits = fits && (*want == nil || **want == got)
		}
		if fits {
			return i
		}
	}
	return -1
}

func TestCountTried(t *testing.T) {
	const o, n = task.ReasonOverloaded, task.ReasonNetwork
	attempt := func(kind task.AttemptKind, r task.FailureReason) task.Attempt {
		return task.Attempt{Kind: kind, Reason: r}
	}
	first, auto, fresh := attempt(task.First, o), attempt(task.Auto, n), attempt(task.Fresh, o)
	for _, c := range []struct {
		all  []task.Attempt
		of   task.FailureReason
		want tried
	}{
		{[]task.Attempt{first}, o, tried{}},
		{[]task.Attempt{first, auto}, o, tried{1, 1}},
		{[]task.Attempt{first, auto}, n, tried{0, 1}},
		{[]task.Attempt{first, auto, auto, auto}, n, tried{2, 3}},
		// Who asks for another attempt begins a new row.
		{[]task.Attempt{first, auto, attempt(task.Retry, o), auto}, o, tried{1, 1}},
		{[]task.Attempt{first, auto, attempt(task.Resume, o)}, o, tried{}},
		// A limit of the account is no attempt of the task.
		{[]task.Attempt{attempt(task.First, task.ReasonUsageLimit), auto}, n, tried{}},
		{[]task.Attempt{first, attempt(task.Auto, task.ReasonUsageLimit), auto, auto}, n, tried{1, 2}},
		// A session that was lost on the way is no attempt of its own.
		{[]task.Attempt{first, attempt(task.Auto, task.ReasonSessionLost), fresh}, o, tried{1, 1}},
	} {
		if got := countTried(c.all, c.of); got != c.want {
			t.Errorf("%v, %s: %+v, want %+v", c.all, c.of, got, c.want)
		}
	}
}

func TestPauseIsSpread(t *testing.T) {
	r := task.RetryPolicy(nil).Rule(task.Spec{}, task.ReasonOverloaded)
	for i, c := range []struct {
		n      int
		random float64
		want   time.Duration
	}{
		{0, 0, 0}, {0, 1, 10 * time.Second}, {0, 0.5, 5 * time.Second}, {1, 1, 20 * time.Second}, {5, 1, 320 * time.Second}, {6, 1, 10 * time.Minute}, {1000, 1, 10 * time.Minute},
	} {
		if got := r.Pause(c.n, c.random); got != c.want {
			t.Errorf("%d: the pause is %v, want %v", i, got, c.want)
		}
	}
}
