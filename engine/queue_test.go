package engine

import (
	"fmt"
	"math/rand/v2"
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

// Whatever the order in which tasks come, leave and come back, each place is
// the one that counting gives, and no step goes deeper than a logarithm.
func TestQueuePlaces(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	model := map[task.ID]uint64{}
	next := uint64(0)
	for range 5000 {
		id := task.ID(fmt.Sprint("t", rng.IntN(300)))
		switch seq, in := model[id], model[id] != 0; {
		case rng.IntN(100) == 0:
			got, ok := q.pop()
			want, lowest := task.ID(""), ^uint64(0)
			for id, seq := range model {
				if seq < lowest {
					want, lowest = id, seq
				}
			}
			if got != want || ok != (want != "") {
				t.Fatalf("pop = %s, %v, want %s", got, ok, want)
			}
			delete(model, got)
		case in && rng.IntN(2) == 0:
			q.remove(id)
			delete(model, id)
			if rng.IntN(2) == 0 { // a launch that is made again keeps its turn
				q.push(id, seq)
				model[id] = seq
			}
		default:
			next++
			q.push(id, next)
			model[id] = next
		}
		want := 0
		if mine, in := model[id]; in {
			for _, seq := range model {
				if seq <= mine {
					want++
				}
			}
		}
		if got := q.position(id); got != want || q.len() != len(model) || q.order.count() != len(model) {
			t.Fatalf("%s is at %d of %d (%d in the tree), want %d of %d", id, got, q.len(), q.order.count(), want, len(model))
		}
	}
}

func TestQueueStaysFlat(t *testing.T) {
	t.Parallel()
	var q queue
	for seq := range uint64(100_000) {
		q.push(task.ID(fmt.Sprint("t", seq)), seq+1)
	}
	var deepest func(p *place) int
	deepest = func(p *place) int {
		if p == nil {
			return 0
		}
		return 1 + max(deepest(p.left), deepest(p.right))
	}
	// A treap of this size is about 40 deep; 100 has a probability below 1e-15.
	if got := deepest(q.order); got > 100 {
		t.Errorf("the tree is %d deep", got)
	}
}
