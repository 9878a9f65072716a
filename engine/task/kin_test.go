package task

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestMayBear(t *testing.T) {
	t.Parallel()
	n := func(n int) *int { return &n }
	for i, c := range []struct {
		owner, front Policy
		kin          Kin
		rule         string // "": it may be started
	}{
		{kin: Kin{Live: 1000, All: 1000}}, // a person's
		{kin: Kin{Depth: 2, Live: 31, All: 199}},
		{kin: Kin{Depth: 3}, rule: "max_depth = 2"},
		{kin: Kin{Depth: 1, Live: 32, All: 32}, rule: "max_live_descendants = 32"},
		{kin: Kin{Depth: 1, Live: 32, All: 200}, rule: "max_descendants = 200"},
		{owner: Policy{MaxDepth: n(5)}, kin: Kin{Depth: 5}},
		{owner: Policy{MaxDepth: n(0)}, kin: Kin{Depth: 1}, rule: "max_depth = 0"},
		{front: Policy{MaxDepth: n(1)}, kin: Kin{Depth: 2}, rule: "max_depth = 1"},
		{front: Policy{MaxDepth: n(9), MaxDescendants: n(900), MaxLiveDescendants: n(900)}, kin: Kin{Depth: 3}, rule: "max_depth = 2"},
		{owner: Policy{MaxDescendants: n(3)}, front: Policy{MaxDescendants: n(900)}, kin: Kin{Depth: 1, All: 3}, rule: "max_descendants = 3"},
	} {
		err := c.owner.MayBear(c.front, c.kin)
		if (err == nil) != (c.rule == "") || err != nil && (!errors.Is(err, ErrDescendants) || !strings.HasPrefix(err.Error(), "policy."+c.rule+": ")) {
			t.Errorf("%d: %v, want %q", i, err, c.rule)
		}
	}
	both, err := Policy{MaxDepth: n(3)}.And(Policy{MaxDepth: n(1), MaxDescendants: n(7)})
	if err != nil || fmt.Sprint(*both.MaxDepth, *both.MaxDescendants, both.MaxLiveDescendants) != "1 7 <nil>" {
		t.Errorf("both: %+v, %v", both, err)
	}
}
