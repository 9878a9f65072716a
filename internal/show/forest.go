package show

import "cctask/engine/task"

// Forest orders rows so that each stands below the first of its parents that is among
// them, in the order in which they came otherwise, and draws the strokes before them.
// Parents are the task that started it, and those that it waits for.
func Forest(rows []Row) []Row {
	at := map[task.ID]int{}
	for i, r := range rows {
		at[r.ID] = i
	}
	below := map[int][]int{}
	var roots []int
	for i, r := range rows {
		if p := parentOf(r, at); p >= 0 {
			below[p] = append(below[p], i)
		} else {
			roots = append(roots, i)
		}
	}
	var out []Row
	drawn := map[int]bool{}
	var draw func(i int, before, own string)
	draw = func(i int, before, own string) {
		if drawn[i] {
			return
		}
		drawn[i] = true
		rows[i].Strokes = before + own
		out = append(out, rows[i])
		switch own {
		case "├─ ":
			before += "│  "
		case "└─ ":
			before += "   "
		}
		for n, child := range below[i] {
			stroke := "├─ "
			if n == len(below[i])-1 {
				stroke = "└─ "
			}
			draw(child, before, stroke)
		}
	}
	for _, i := range roots {
		draw(i, "", "")
	}
	for i := range rows { // of a ring nobody is a root
		draw(i, "", "")
	}
	return out
}

// parentOf is the place of the row below which r stands; -1: there is none.
func parentOf(r Row, at map[task.ID]int) int {
	parents := []task.ID{r.ParentID}
	for _, text := range r.Spec.After {
		parents = append(parents, task.ID(task.ParseNeed(text).Ref))
	}
	for _, id := range parents {
		if i, there := at[id]; there && id != r.ID {
			return i
		}
	}
	return -1
}
