package engine

import (
	"testing"

	"cctask/engine/task"
)

// nextTable is in the order of its rows: the first that fits an ending holds. A nil field is any.
var nextTable = []struct {
	status                                             []task.Status
	cancelled, goesOn, lost, resumes, foreign, touched *bool
	want                                               follow
}{
	{cancelled: yes, want: over},
	{lost: yes, foreign: yes, want: failForeign},
	{lost: yes, foreign: no, touched: yes, want: failTouched},
	{lost: yes, foreign: no, touched: no, resumes: yes, want: afresh},
	{lost: yes, foreign: no, touched: no, resumes: no, want: over},
	{lost: no, status: []task.Status{task.Interrupted}, goesOn: yes, want: again},
	{lost: no, want: over},
}

func TestNextIsTheTable(t *testing.T) {
	used := map[int]bool{}
	for bits := range 1 << 6 {
		for _, status := range ended {
			bit := func(n int) bool { return bits&(1<<n) != 0 }
			e := ending{status: status, cancelled: bit(0), goesOn: bit(1), lost: bit(2), resumes: bit(3), foreign: bit(4), touched: bit(5)}
			for i, r := range nextTable {
				fits := len(r.status) == 0 || r.status[0] == status
				for want, got := range map[**bool]bool{
					&r.cancelled: e.cancelled, &r.goesOn: e.goesOn, &r.lost: e.lost, &r.resumes: e.resumes, &r.foreign: e.foreign, &r.touched: e.touched,
				} {
					fits = fits && (*want == nil || **want == got)
				}
				if !fits {
					continue
				}
				used[i] = true
				if got := next(e); got != r.want {
					t.Errorf("row %d: %+v: next = %q, the table says %q", i, e, got, r.want)
				}
				break
			}
		}
	}
	if len(used) != len(nextTable) {
		t.Errorf("only %d of %d rows can happen", len(used), len(nextTable))
	}
}
