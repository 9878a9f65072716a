package engine

import (
	"fmt"
	"testing"

	"cctask/engine/task"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	var q queue
	for _, seq := range []uint64{3, 1, 2, 5, 4} {
		q.push(task.ID(fmt.Sprint("t", seq)), seq)
	}
	if got := q.position("t4"); got != 4 {
		t.Errorf("position of t4 = %d, want 4", got)
	}
	q.remove("t2")
	if got := q.position("t4"); got != 3 {
		t.Errorf("position of t4 after t2 left = %d, want 3", got)
	}
	if got := q.position("t2"); got != 0 {
		t.Errorf("position of one that left = %d, want 0", got)
	}
	var got []task.ID
	for id, ok := q.pop(); ok; id, ok = q.pop() {
		got = append(got, id)
	}
	if fmt.Sprint(got) != "[t1 t3 t4 t5]" {
		t.Errorf("order = %v", got)
	}
}

// A task that was cancelled and retried is in the heap twice; only its new
// place counts.
func TestQueueForgetsTheOldPlace(t *testing.T) {
	var q queue
	q.push("a", 1)
	q.push("b", 2)
	q.remove("a")
	q.push("a", 3)
	var got []task.ID
	for id, ok := q.pop(); ok; id, ok = q.pop() {
		got = append(got, id)
	}
	if fmt.Sprint(got) != "[b a]" {
		t.Errorf("order = %v, want [b a]", got)
	}
}
