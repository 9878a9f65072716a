package show

import (
	"strings"
	"testing"

	"cctask/engine/task"
)

func TestForest(t *testing.T) {
	t.Parallel()
	of := func(id, parent string, after ...string) Row {
		return Row{Task: task.Task{ID: task.ID(id), ParentID: task.ID(parent), Spec: task.Spec{After: after}}}
	}
	for _, c := range []struct {
		name string
		rows []Row
		want string
	}{
		{"none", nil, ""},
		{"flat, in its order", []Row{of("b", ""), of("a", "")}, "b\na\n"},
		{
			"three deep",
			[]Row{of("d", "b"), of("c", "a"), of("b", "a"), of("a", ""), of("e", "")},
			"a\n├─ c\n└─ b\n   └─ d\ne\n",
		},
		{"strokes go on beside", []Row{of("a", ""), of("b", "a"), of("c", "b"), of("d", "a")}, "a\n├─ b\n│  └─ c\n└─ d\n"},
		{"a parent that is not shown", []Row{of("a", "x"), of("b", "a")}, "a\n└─ b\n"},
		{"dependencies, below the first", []Row{of("a", ""), of("b", ""), of("c", "", "x:any", "b", "a:failed")}, "a\nb\n└─ c\n"},
		{"a ring, of damaged records", []Row{of("a", "b"), of("b", "a"), of("c", "c")}, "c\na\n└─ b\n"},
	} {
		var got strings.Builder
		for _, r := range Forest(c.rows) {
			got.WriteString(r.Strokes + string(r.ID) + "\n")
		}
		if got.String() != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, got.String(), c.want)
		}
	}
}
