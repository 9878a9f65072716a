package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// However keys come and go, the first one and each rank are those of a sorted list.
func TestOrderedIsASortedList(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	set := ordered[int]{less: func(a, b int) bool { return a < b }}
	var list []int
	for range 5000 {
		key := rng.IntN(300)
		at, in := slices.BinarySearch(list, key)
		switch {
		case !in:
			set.insert(key)
			list = slices.Insert(list, at, key)
		case rng.IntN(2) == 0:
			if !set.remove(key) {
				t.Fatalf("%d is not there to remove", key)
			}
			list = slices.Delete(list, at, at+1)
		}
		if got := set.rank(key); got != at {
			t.Fatalf("rank of %d = %d, want %d", key, got, at)
		}
		first, ok := set.first()
		if ok != (len(list) > 0) || ok && first != list[0] || set.root.count() != len(list) {
			t.Fatalf("first = %d, %v of %d, want that of %v", first, ok, set.root.count(), list)
		}
		if set.remove(1000) {
			t.Fatal("removed what is not there")
		}
	}
}

func TestOrderedStaysFlat(t *testing.T) {
	t.Parallel()
	set := ordered[int]{less: func(a, b int) bool { return a < b }}
	for key := range 100_000 {
		set.insert(key)
	}
	var deepest func(n *orderedNode[int]) int
	deepest = func(n *orderedNode[int]) int {
		if n == nil {
			return 0
		}
		return 1 + max(deepest(n.left), deepest(n.right))
	}
	// A treap of this size is about 40 deep.
	if got := deepest(set.root); got > 100 {
		t.Errorf("the tree is %d deep", got)
	}
}
